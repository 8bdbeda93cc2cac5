#include "export/onnx_builder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cassert>
#include <unordered_map>
#include <unordered_set>

namespace mnm {
namespace {

OnnxType type_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF32:
      return OnnxType::kF32;
    case Dtype::kF16:
      return OnnxType::kF16;
    case Dtype::kBF16:
      return OnnxType::kBF16;
    case Dtype::kF64:  // no graph holds it
      break;
  }
  return OnnxType::kF32;
}

std::string_view short_name(OnnxType type) {
  switch (type) {
    case OnnxType::kF32:
      return "f32";
    case OnnxType::kF16:
      return "f16";
    case OnnxType::kBF16:
      return "bf16";
    case OnnxType::kI64:
      return "i64";
    case OnnxType::kBool:
      return "bool";
  }
  return "";
}

void rename(OnnxGraph& graph, const std::unordered_map<std::string, std::string>& names) {
  const auto apply = [&](std::vector<std::string>& values) {
    for (std::string& value : values) {
      if (const auto found = names.find(value); found != names.end()) value = found->second;
    }
  };
  for (OnnxNode& node : graph.nodes) {
    apply(node.inputs);
    apply(node.outputs);
    for (auto& [key, attribute] : node.attributes) {
      if (auto* body = std::get_if<std::shared_ptr<const OnnxGraph>>(&attribute)) {
        auto renamed = std::make_shared<OnnxGraph>(**body);
        rename(*renamed, names);
        *body = std::move(renamed);
      }
    }
  }
}

}  // namespace

struct OnnxBuilder::Shared {
  OnnxType stored, computed;
  std::unordered_map<std::string, int> node_names;  // how often each was asked for
  std::vector<std::string> weights;
  std::vector<OnnxConstant> constants;
  std::vector<OnnxNode> casts;  // of weights; they belong to the outermost graph, before the rest
  std::unordered_set<std::string> known;  // names of the three
};

OnnxBuilder::Scope::Scope(std::string& path, std::string_view part)
    : path_(path), before_(path.size()) {
  path_.append(part).push_back('/');
}
OnnxBuilder::Scope::~Scope() { path_.resize(before_); }

OnnxBuilder::OnnxBuilder(std::string name, Dtype stored)
    : OnnxBuilder(std::move(name), std::make_shared<Shared>(), "/") {
  shared_->stored = type_of(stored);
  shared_->computed = stored == Dtype::kF16 ? OnnxType::kF16 : OnnxType::kF32;
}
OnnxBuilder::OnnxBuilder(std::string name, std::shared_ptr<Shared> shared, std::string path)
    : shared_(std::move(shared)), path_(std::move(path)) {
  graph_.name = std::move(name);
}
OnnxBuilder::~OnnxBuilder() = default;

OnnxType OnnxBuilder::stored() const { return shared_->stored; }
OnnxType OnnxBuilder::type() const { return shared_->computed; }

OnnxBuilder::Scope OnnxBuilder::scope(std::string_view part) { return Scope(path_, part); }

OnnxValue OnnxBuilder::input(std::string name, OnnxType type, std::vector<OnnxDim> shape) {
  graph_.inputs.push_back({name, type, std::move(shape)});
  return {std::move(name)};
}

void OnnxBuilder::output(std::string name, OnnxValue value, OnnxType type,
                         std::vector<OnnxDim> shape) {
  if (!made_.contains(value.name)) value = op("Identity", {value});
  made_.erase(value.name);  // it has its name
  renamed_.emplace_back(value.name, name);
  graph_.outputs.push_back({std::move(name), type, std::move(shape)});
}

void OnnxBuilder::output_f32(std::string name, const OnnxValue& value, std::vector<OnnxDim> shape) {
  output(std::move(name), cast(value, type(), OnnxType::kF32), OnnxType::kF32, std::move(shape));
}

OnnxValue OnnxBuilder::as_stored(const std::string& tensor) {
  if (shared_->known.insert(tensor).second) shared_->weights.push_back(tensor);
  return {tensor};
}

OnnxValue OnnxBuilder::weight(const std::string& tensor, OnnxType type) {
  const OnnxValue whole = as_stored(tensor);
  if (type == shared_->stored) return whole;
  const std::string name = fmt::format("/{}/{}", tensor, short_name(type));
  if (shared_->known.insert(name).second) {
    shared_->casts.push_back({"Cast", name, {tensor}, {name}, {{"to", type}}});
  }
  return {name};
}

OnnxValue OnnxBuilder::constant(OnnxConstant constant) {
  OnnxValue value{constant.name};
  if (shared_->known.insert(constant.name).second) {
    shared_->constants.push_back(std::move(constant));
  }
  return value;
}

OnnxValue OnnxBuilder::number(double value, OnnxType type) {
  const auto rounded = static_cast<float>(value);
  return constant(
      {fmt::format("{}_{}", short_name(type), rounded), type, {}, std::vector<float>{rounded}});
}

OnnxValue OnnxBuilder::integer(std::int64_t value) {
  return constant(
      {fmt::format("i64_{}", value), OnnxType::kI64, {}, std::vector<std::int64_t>{value}});
}

OnnxValue OnnxBuilder::integers(std::vector<std::int64_t> values) {
  const auto size = static_cast<std::int64_t>(values.size());
  return constant(
      {fmt::format("i64[{}]", fmt::join(values, ",")), OnnxType::kI64, {size}, std::move(values)});
}

OnnxValue OnnxBuilder::vector(const std::string& name, std::vector<float> values, OnnxType type) {
  const auto size = static_cast<std::int64_t>(values.size());
  return constant({name, type, {size}, std::move(values)});
}

std::vector<OnnxValue> OnnxBuilder::op(const std::string& op, const std::vector<OnnxValue>& inputs,
                                       std::size_t outputs, OnnxAttributes attributes) {
  OnnxNode node;
  node.op = op;
  node.name = path_ + op;
  if (const int before = shared_->node_names[node.name]++; before > 0) {
    node.name += fmt::format("_{}", before);
  }
  for (const OnnxValue& input : inputs) node.inputs.push_back(input.name);
  std::vector<OnnxValue> values;
  for (std::size_t i = 0; i < outputs; ++i) {
    values.push_back({fmt::format("{}_output_{}", node.name, i)});
    node.outputs.push_back(values.back().name);
    made_.insert(values.back().name);
  }
  node.attributes = std::move(attributes);
  graph_.nodes.push_back(std::move(node));
  return values;
}

OnnxValue OnnxBuilder::op(const std::string& op, const std::vector<OnnxValue>& inputs,
                          OnnxAttributes attributes) {
  return this->op(op, inputs, 1, std::move(attributes)).front();
}

OnnxValue OnnxBuilder::cast(const OnnxValue& x, OnnxType from, OnnxType to) {
  return from == to ? x : op("Cast", {x}, {{"to", to}});
}

OnnxValue OnnxBuilder::reshape(const OnnxValue& x, std::vector<std::int64_t> shape) {
  return reshape(x, integers(std::move(shape)));
}

OnnxValue OnnxBuilder::reshape(const OnnxValue& x, const OnnxValue& shape) {
  return op("Reshape", {x, shape});
}

OnnxValue OnnxBuilder::transpose(const OnnxValue& x, std::vector<std::int64_t> order) {
  return op("Transpose", {x}, {{"perm", std::move(order)}});
}

OnnxValue OnnxBuilder::unsqueeze(const OnnxValue& x, std::vector<std::int64_t> dims) {
  return op("Unsqueeze", {x, integers(std::move(dims))});
}

OnnxValue OnnxBuilder::concat(const std::vector<OnnxValue>& parts, std::int64_t dim) {
  return op("Concat", parts, {{"axis", dim}});
}

OnnxValue OnnxBuilder::dimension(const OnnxValue& shape, std::int64_t dim) {
  return op("Gather", {shape, integer(dim)}, {{"axis", std::int64_t{0}}});
}

OnnxValue OnnxBuilder::dimensions(const OnnxValue& shape, std::vector<std::int64_t> dims) {
  return op("Gather", {shape, integers(std::move(dims))}, {{"axis", std::int64_t{0}}});
}

OnnxValue OnnxBuilder::slice(const OnnxValue& x, std::int64_t dim, std::int64_t begin,
                             std::int64_t end) {
  return op("Slice", {x, integers({begin}), integers({end}), integers({dim})});
}

std::vector<OnnxValue> OnnxBuilder::split(const OnnxValue& x, std::int64_t dim,
                                          std::vector<std::int64_t> sizes) {
  const std::size_t parts = sizes.size();
  return op("Split", {x, integers(std::move(sizes))}, parts, {{"axis", dim}});
}

OnnxBuilder OnnxBuilder::body(std::string name) {
  return OnnxBuilder(name, shared_, path_ + name + "/");
}

OnnxAttribute OnnxBuilder::finish_body() {
  rename(graph_, {renamed_.begin(), renamed_.end()});
  return std::make_shared<const OnnxGraph>(std::move(graph_));
}

OnnxGraph OnnxBuilder::finish() {
  assert(path_ == "/");
  graph_.nodes.insert(graph_.nodes.begin(), std::make_move_iterator(shared_->casts.begin()),
                      std::make_move_iterator(shared_->casts.end()));
  rename(graph_, {renamed_.begin(), renamed_.end()});
  graph_.weights = std::move(shared_->weights);
  graph_.constants = std::move(shared_->constants);
  return std::move(graph_);
}

}  // namespace mnm
