#include "families/open_model.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "families/config_reader.h"

namespace mnm {
namespace {

// What most of the elements are stored in: the dtype of a config that states none.
Dtype usual_dtype(const Checkpoint& checkpoint) {
  std::map<Dtype, double> elements;
  for (const StoredTensor& tensor : checkpoint.tensors()) {
    const Dtype dtype = tensor.dtype == Dtype::kF64 ? Dtype::kF32 : tensor.dtype;
    elements[dtype] += static_cast<double>(tensor.elements());
  }
  Dtype usual = Dtype::kF32;
  for (const auto& [dtype, count] : elements) {
    if (count > elements[usual]) usual = dtype;
  }
  return usual;
}

// The elements [begin, begin + out.size()) of a stored tensor, read and not mapped: what is
// compared below may be gigabytes, and the pages of a map count as memory.
void read_elements(const Checkpoint& checkpoint, const StoredTensor& tensor, std::int64_t begin,
                   std::span<float> out) {
  std::vector<std::byte> bytes(out.size() * size_of(tensor.dtype));
  checkpoint.read(tensor, static_cast<std::uint64_t>(begin) * size_of(tensor.dtype), bytes);
  to_f32(bytes, tensor.dtype, out);
}

bool same_values(const Checkpoint& checkpoint, const StoredTensor& a, const StoredTensor& b) {
  constexpr std::int64_t kChunk = 1 << 20;
  if (a.shape != b.shape) return false;
  std::vector<float> x, y;
  for (std::int64_t begin = 0; begin < a.elements(); begin += kChunk) {
    const auto count = static_cast<std::size_t>(std::min(kChunk, a.elements() - begin));
    x.resize(count);
    y.resize(count);
    read_elements(checkpoint, a, begin, x);
    read_elements(checkpoint, b, begin, y);
    if (std::memcmp(x.data(), y.data(), count * sizeof(float)) != 0) return false;
  }
  return true;
}

// transformers shares such a tensor only where both are equal, and otherwise computes with both.
void check_copies(const Checkpoint& checkpoint, const std::map<std::string, std::string>& copies) {
  for (const auto& [copy, original] : copies) {
    const StoredTensor* tensor = checkpoint.find(copy);
    if (tensor == nullptr || tensor == &checkpoint.at(original)) continue;
    if (same_values(checkpoint, *tensor, checkpoint.at(original))) continue;
    fail(
        "checkpoint '{}' disagrees with its config.json, which makes '{}' and '{}' one tensor: "
        "both "
        "are there, and differ; say in config.json that they are two, or remove the wrong one",
        checkpoint.directory().string(), original, copy);
  }
}

// Before the config is read: where it is silent on what the weights are, these say it.
void require_own_weights(const Checkpoint& checkpoint) {
  for (const Family* family : families()) {
    if (!family->recognizes(checkpoint.config())) continue;
    if (const std::string why = family->foreign_weights(checkpoint); !why.empty()) {
      fail("cannot open checkpoint '{}': {}", checkpoint.directory().string(), why);
    }
  }
}

// What a directory without a model.safetensors may have for weights, though none that is opened.
bool may_be_weights(const std::filesystem::path& path) {
  static const std::set<std::string> kEnds = {".safetensors", ".bin",  ".pt",  ".pth",
                                              ".ckpt",        ".gguf", ".onnx"};
  return kEnds.contains(path.extension().string()) ||
         path.filename().string().ends_with(".safetensors.index.json");
}

}  // namespace

std::vector<const StoredTensor*> other_parts(const Family& family, const NestedModel& model,
                                             const Checkpoint& checkpoint) {
  const std::vector<std::string> beginnings = family.other_parts(model);
  std::vector<const StoredTensor*> parts;
  for (const StoredTensor& tensor : checkpoint.tensors()) {
    if (std::ranges::any_of(beginnings, [&](const std::string& beginning) {
          return tensor.name.starts_with(beginning);
        })) {
      parts.push_back(&tensor);
    }
  }
  return parts;
}

OpenedModel text_only(OpenedModel opened, const Nesting& nesting) {
  const nlohmann::json config = opened.family->text_config(opened.model);
  NestedModel model = describe_model(config, nesting, opened.checkpoint.directory()).model;
  opened.checkpoint.add_names(opened.family->other_names(model));
  opened.model = std::move(model);
  return opened;
}

DescribedModel describe_model(const nlohmann::json& config, const Nesting& nesting,
                              const std::filesystem::path& where) {
  try {
    const Family& family = family_of(config);
    DescribedModel described = {&family, family.describe(config, nesting)};
    if (nesting.image_size > 0 && described.model.reads_tokens()) {
      fail_usage("an image size was given, but the model reads tokens");
    }
    return described;
  } catch (const UsageError&) {
    throw;
  } catch (const Error& error) {
    fail("{}: {}", where.string(), error.what());
  }
}

OpenedModel open_model(const std::filesystem::path& directory, const Nesting& nesting) {
  return open_model(Checkpoint::open(directory), nesting);
}

OpenedModel open_model(Checkpoint checkpoint, const Nesting& nesting) {
  const std::filesystem::path where = checkpoint.directory() / "config.json";
  require_own_weights(checkpoint);
  auto [family, model] = describe_model(checkpoint.config(), nesting, where);
  const nlohmann::json config = family->completed(checkpoint.config(), checkpoint);
  if (config != checkpoint.config()) model = describe_model(config, nesting, where).model;
  if (!stated_dtype(config)) model.dtype = usual_dtype(checkpoint);
  const std::map<std::string, std::string> names = family->other_names(model);
  checkpoint.add_names(names);
  const std::vector<InterleavedRows> rows = family->interleaved_rows(model);
  for (const InterleavedRows& part : rows) checkpoint.add_rows(part);
  const std::map<std::string, std::string> copies = family->copies(model);
  for (const auto& [copy, original] : copies) {
    // Of one tensor under two names a writer may keep either.
    if (checkpoint.find(original) == nullptr) checkpoint.add_names({{copy, original}});
  }
  std::vector<std::string> ignored = family->ignored_tensors();
  for (const auto& [stored, name] : names) ignored.push_back(stored);
  for (const InterleavedRows& part : rows) ignored.push_back(part.stored);
  for (const auto& [copy, original] : copies) ignored.push_back(copy);
  for (const StoredTensor* part : other_parts(*family, model, checkpoint)) {
    ignored.push_back(part->name);
  }
  check_tensors(checkpoint, model, ignored);
  check_copies(checkpoint, copies);
  return {family, std::move(checkpoint), std::move(model)};
}

std::optional<std::filesystem::path> bare_config(const std::filesystem::path& given) {
  std::error_code error;
  if (std::filesystem::is_regular_file(given, error)) {
    if (given.extension() != ".json") return std::nullopt;
    return given;
  }
  const std::filesystem::path path = snapshot_of(given);
  bool config = false;
  for (std::filesystem::directory_iterator it(path, error), end; !error && it != end;
       it.increment(error)) {
    if (may_be_weights(it->path())) return std::nullopt;
    config = config || it->path().filename() == "config.json";
  }
  if (error || !config) return std::nullopt;
  return path / "config.json";
}

OpenedModel without_weights(const std::filesystem::path& config, const Nesting& nesting) {
  auto [family, model] = describe_model(read_json(config), nesting, config);
  std::vector<StoredTensor> tensors;
  std::uint64_t offset = 0;
  for (const TensorSpec& spec : model.table.tensors) {
    StoredTensor& tensor = tensors.emplace_back();
    tensor.name = spec.name;
    tensor.dtype = model.dtype;
    tensor.shape = spec.shape;
    tensor.offset = offset;
    offset += tensor.bytes();
  }
  return {family,
          Checkpoint::assemble(config.parent_path(), model.config, std::move(tensors), nullptr),
          std::move(model)};
}

}  // namespace mnm
