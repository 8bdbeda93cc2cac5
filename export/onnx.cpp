#include "export/onnx.h"

#include <google/protobuf/stubs/logging.h>
#include <onnx/checker.h>
#include <onnx/onnx_pb.h>
#include <onnx/shape_inference/implementation.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>

#include "base/error.h"
#include "base/file.h"
#include "model/shapes.h"

namespace mnm {
namespace {

constexpr std::int64_t kIrVersion = 8;  // that of opset 17

onnx::TensorProto::DataType data_type(OnnxType type) {
  switch (type) {
    case OnnxType::kF32:
      return onnx::TensorProto::FLOAT;
    case OnnxType::kF16:
      return onnx::TensorProto::FLOAT16;
    case OnnxType::kBF16:
      return onnx::TensorProto::BFLOAT16;
    case OnnxType::kI64:
      return onnx::TensorProto::INT64;
    case OnnxType::kBool:
      return onnx::TensorProto::BOOL;
  }
  return onnx::TensorProto::UNDEFINED;
}

onnx::TensorProto::DataType data_type(Dtype dtype) {
  if (dtype == Dtype::kF16) return onnx::TensorProto::FLOAT16;
  return dtype == Dtype::kBF16 ? onnx::TensorProto::BFLOAT16 : onnx::TensorProto::FLOAT;
}

std::optional<Dtype> dtype_of(std::int32_t type) {
  for (const Dtype dtype : {Dtype::kF32, Dtype::kF16, Dtype::kBF16}) {
    if (type == data_type(dtype)) return dtype;
  }
  return std::nullopt;
}

// One line of what the library says over several.
std::string one_line(const char* text) {
  std::string line;
  for (const char* c = text; *c != '\0'; ++c) {
    const bool space = *c == '\n' || *c == '\r' || *c == ' ';
    if (!space) line += *c;
    if (space && !line.empty() && line.back() != ' ') line += ' ';
  }
  if (line.ends_with(' ')) line.pop_back();
  return line;
}

void encode_value(const OnnxValueInfo& value, onnx::ValueInfoProto& proto) {
  proto.set_name(value.name);
  onnx::TypeProto::Tensor& tensor = *proto.mutable_type()->mutable_tensor_type();
  tensor.set_elem_type(data_type(value.type));
  onnx::TensorShapeProto& shape = *tensor.mutable_shape();  // there, also where it is a scalar's
  for (const OnnxDim& dim : value.shape) {
    onnx::TensorShapeProto::Dimension& out = *shape.add_dim();
    if (const auto* size = std::get_if<std::int64_t>(&dim)) {
      out.set_dim_value(*size);
    } else {
      out.set_dim_param(std::get<std::string>(dim));
    }
  }
}

void encode_constant(const OnnxConstant& constant, onnx::TensorProto& proto) {
  proto.set_name(constant.name);
  proto.set_data_type(data_type(constant.type));
  for (const std::int64_t size : constant.shape) proto.add_dims(size);
  std::string bytes;
  std::size_t count = 0;
  if (const auto* floats = std::get_if<std::vector<float>>(&constant.values)) {
    const Dtype dtype = *dtype_of(proto.data_type());
    count = floats->size();
    bytes.resize(count * size_of(dtype));
    from_f32(*floats, dtype, std::as_writable_bytes(std::span(bytes)));
  } else {
    const auto& integers = std::get<std::vector<std::int64_t>>(constant.values);
    count = integers.size();
    bytes.resize(count * sizeof(std::int64_t));
    std::memcpy(bytes.data(), integers.data(), bytes.size());
  }
  if (static_cast<std::int64_t>(count) != element_count(constant.shape)) {
    fail("the constant '{}' has {} values for the shape {}", constant.name, count,
         shape_text(constant.shape));
  }
  proto.set_raw_data(std::move(bytes));
}

void encode_graph(const OnnxGraph& graph, onnx::GraphProto& proto);

void encode_attribute(const std::string& name, const OnnxAttribute& attribute,
                      onnx::AttributeProto& proto) {
  proto.set_name(name);
  struct Visitor {
    onnx::AttributeProto& to;
    void operator()(std::int64_t value) const {
      to.set_type(onnx::AttributeProto::INT);
      to.set_i(value);
    }
    void operator()(OnnxType type) const { (*this)(std::int64_t{data_type(type)}); }
    void operator()(float value) const {
      to.set_type(onnx::AttributeProto::FLOAT);
      to.set_f(value);
    }
    void operator()(const std::string& value) const {
      to.set_type(onnx::AttributeProto::STRING);
      to.set_s(value);
    }
    void operator()(const std::vector<std::int64_t>& values) const {
      to.set_type(onnx::AttributeProto::INTS);
      for (const std::int64_t value : values) to.add_ints(value);
    }
    void operator()(const std::vector<float>& values) const {
      to.set_type(onnx::AttributeProto::FLOATS);
      for (const float value : values) to.add_floats(value);
    }
    void operator()(const std::shared_ptr<const OnnxGraph>& body) const {
      to.set_type(onnx::AttributeProto::GRAPH);
      encode_graph(*body, *to.mutable_g());
    }
  };
  std::visit(Visitor{proto}, attribute);
}

// All but the weights.
void encode_graph(const OnnxGraph& graph, onnx::GraphProto& proto) {
  proto.set_name(graph.name);
  for (const OnnxValueInfo& input : graph.inputs) encode_value(input, *proto.add_input());
  for (const OnnxValueInfo& output : graph.outputs) encode_value(output, *proto.add_output());
  for (const OnnxConstant& constant : graph.constants) {
    encode_constant(constant, *proto.add_initializer());
  }
  for (const OnnxNode& node : graph.nodes) {
    onnx::NodeProto& out = *proto.add_node();
    out.set_op_type(node.op);
    out.set_name(node.name);
    for (const std::string& input : node.inputs) out.add_input(input);
    for (const std::string& output : node.outputs) out.add_output(output);
    for (const auto& [name, attribute] : node.attributes) {
      encode_attribute(name, attribute, *out.add_attribute());
    }
  }
}

void add_external(const char* key, std::string value, onnx::TensorProto& proto) {
  onnx::StringStringEntryProto& entry = *proto.add_external_data();
  entry.set_key(key);
  entry.set_value(std::move(value));
}

void encode_weight(const OnnxWeight& weight, const std::string& location,
                   onnx::TensorProto& proto) {
  proto.set_name(weight.name);
  proto.set_data_type(data_type(weight.dtype));
  for (const std::int64_t size : weight.shape) proto.add_dims(size);
  proto.set_data_location(onnx::TensorProto::EXTERNAL);
  add_external("location", location, proto);
  add_external("offset", std::to_string(weight.offset), proto);
  add_external("length", std::to_string(weight.bytes()), proto);
}

onnx::ModelProto decode(std::span<const std::byte> file, const std::string& path) {
  // What the library has to say of a damaged file it prints; the error below is ours.
  const google::protobuf::LogSilencer silence;
  onnx::ModelProto model;
  if (file.empty() || file.size() > kOnnxLargest ||
      !model.ParseFromArray(file.data(), static_cast<int>(file.size())) || !model.has_graph()) {
    fail("cannot read '{}': it is no ONNX model", path);
  }
  return model;
}

std::uint64_t parse_bytes(const std::string& text, const std::string& path,
                          const std::string& tensor, const char* key) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    fail("cannot read '{}': the {} of tensor '{}' is no number of bytes", path, key, tensor);
  }
  return value;
}

OnnxWeight parse_weight(const onnx::TensorProto& proto, const std::string& path,
                        const std::string& location, std::uint64_t data_bytes) {
  OnnxWeight weight;
  weight.name = proto.name();
  const std::optional<Dtype> dtype = dtype_of(proto.data_type());
  if (!dtype) {
    fail("cannot read '{}': tensor '{}' has the type {}, expected f32, f16 or bf16", path,
         weight.name, proto.data_type());
  }
  weight.dtype = *dtype;
  weight.shape.assign(proto.dims().begin(), proto.dims().end());
  const auto elements = try_element_count(weight.shape);
  if (!elements || *elements > std::int64_t{1} << 60) {
    fail("cannot read '{}': tensor '{}' has the shape {}, which no file holds", path, weight.name,
         shape_text(weight.shape));
  }
  std::map<std::string, std::string> entries;
  for (const onnx::StringStringEntryProto& entry : proto.external_data()) {
    if (!entries.emplace(entry.key(), entry.value()).second) {
      fail("cannot read '{}': tensor '{}' states its {} twice", path, weight.name, entry.key());
    }
  }
  if (entries["location"] != location) {
    fail("cannot read '{}': tensor '{}' lies in '{}', expected '{}'", path, weight.name,
         entries["location"], location);
  }
  weight.offset = parse_bytes(entries["offset"], path, weight.name, "offset");
  const std::uint64_t length = parse_bytes(entries["length"], path, weight.name, "length");
  if (length != weight.bytes()) {
    fail("cannot read '{}': tensor '{}' of shape {} has {} bytes, expected {}", path, weight.name,
         shape_text(weight.shape), length, weight.bytes());
  }
  if (weight.offset % kOnnxAlignment != 0) {
    fail("cannot read '{}': tensor '{}' begins at byte {}, which is no multiple of {}", path,
         weight.name, weight.offset, kOnnxAlignment);
  }
  if (weight.offset > data_bytes || length > data_bytes - weight.offset) {
    fail("cannot read '{}': tensor '{}' ends past the {} bytes of '{}'", path, weight.name,
         data_bytes, location);
  }
  return weight;
}

}  // namespace

std::uint64_t OnnxWeight::bytes() const {
  return static_cast<std::uint64_t>(element_count(shape)) * size_of(dtype);
}

std::string encode_onnx(const OnnxGraph& graph, std::span<const OnnxWeight> weights,
                        const std::string& location, const OnnxMetadata& metadata,
                        std::uint64_t largest) {
  onnx::ModelProto model;
  model.set_ir_version(kIrVersion);
  model.set_producer_name("mixnmatch");
  onnx::OperatorSetIdProto& opset = *model.add_opset_import();
  opset.set_domain("");
  opset.set_version(kOnnxOpset);
  onnx::GraphProto& proto = *model.mutable_graph();
  std::unordered_map<std::string, const OnnxWeight*> by_name;
  for (const OnnxWeight& weight : weights) by_name.emplace(weight.name, &weight);
  for (const std::string& name : graph.weights) {
    const auto found = by_name.find(name);
    if (found == by_name.end()) fail("no tensor is called {}", name);
    encode_weight(*found->second, location, *proto.add_initializer());
  }
  encode_graph(graph, proto);
  for (const auto& [key, value] : metadata) {
    onnx::StringStringEntryProto& entry = *model.add_metadata_props();
    entry.set_key(key);
    entry.set_value(value);
  }
  if (model.ByteSizeLong() > largest) {
    fail(
        "cannot write the graph '{}' as an ONNX model: it takes {} bytes without its weights, and "
        "protobuf holds {}; choose a model of fewer layers, or another format",
        graph.name, model.ByteSizeLong(), largest);
  }
  return model.SerializeAsString();
}

void check_onnx(const std::filesystem::path& path) {
  try {
    onnx::checker::check_model(path.string());
    const MappedFile file(path);
    onnx::ModelProto model = decode(file.bytes(), path.string());
    onnx::shape_inference::InferShapes(model, onnx::OpSchemaRegistry::Instance(),
                                       onnx::ShapeInferenceOptions(true, 1, true));
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    fail("the ONNX library refuses '{}': {}", path.string(), one_line(error.what()));
  }
}

OnnxFile parse_onnx(std::span<const std::byte> file, const std::string& path,
                    const std::string& location, std::uint64_t data_bytes) {
  const onnx::ModelProto model = decode(file, path);
  const bool known = std::ranges::any_of(model.opset_import(), [](const auto& opset) {
    return opset.domain().empty() && opset.version() == kOnnxOpset;
  });
  if (!known) fail("cannot read '{}': it is not of opset {}", path, kOnnxOpset);
  OnnxFile result;
  std::set<std::string> names;
  for (const onnx::TensorProto& proto : model.graph().initializer()) {
    if (!names.insert(proto.name()).second) {
      fail("cannot read '{}': it holds the tensor '{}' twice", path, proto.name());
    }
    if (proto.data_location() != onnx::TensorProto::EXTERNAL) continue;
    result.weights.push_back(parse_weight(proto, path, location, data_bytes));
  }
  std::ranges::sort(result.weights, {},
                    [](const OnnxWeight& w) { return std::pair(w.offset, w.name); });
  for (std::size_t i = 1; i < result.weights.size(); ++i) {
    const OnnxWeight &before = result.weights[i - 1], &after = result.weights[i];
    if (after.offset < before.offset + before.bytes()) {
      fail("cannot read '{}': the tensors '{}' and '{}' overlap", path, before.name, after.name);
    }
  }
  for (const onnx::StringStringEntryProto& entry : model.metadata_props()) {
    result.metadata.emplace_back(entry.key(), entry.value());
  }
  return result;
}

}  // namespace mnm
