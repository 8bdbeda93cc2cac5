#include "model/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <deque>
#include <map>
#include <system_error>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/seeded_hash.h"
#include "model/fingerprint.h"
#include "model/safetensors.h"
#include "model/shapes.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr std::uint64_t kLongestRevision = 4096;  // bytes of a file that names one

std::vector<std::string> file_names(const fs::path& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  std::ranges::sort(names);  // so that messages do not depend on the file system's order
  return names;
}

// "nothing", "'a'", "'a' and 2 others".
std::string listed(const std::vector<std::string>& names) {
  if (names.empty()) return "nothing";
  if (names.size() == 1) return fmt::format("'{}'", names.front());
  return fmt::format("'{}' and {} other{}", names.front(), names.size() - 1,
                     names.size() == 2 ? "" : "s");
}

// 3 of "model-00001-of-00003.safetensors": how many shards there are; 0: the file is none.
std::int64_t shard_count(std::string_view name) {
  constexpr std::string_view kEnd = ".safetensors", kOf = "-of-";
  if (!name.ends_with(kEnd)) return 0;
  name.remove_suffix(kEnd.size());
  const std::size_t at = name.rfind(kOf);
  if (at == name.npos) return 0;
  const std::string_view count = name.substr(at + kOf.size());
  std::int64_t shards = 0;
  const auto [end, error] = std::from_chars(count.data(), count.data() + count.size(), shards);
  return error == std::errc() && end == count.data() + count.size() ? shards : 0;
}

// Whether to open it. What cannot even be looked at is opened too: that error names the reason.
// Error for a link whose target is gone, as a download leaves it that was cut off.
bool present(const fs::path& path) {
  std::error_code error;
  if (fs::exists(path, error) || error) return true;
  if (fs::is_symlink(path, error)) {
    fail("cannot read '{}': it is a link to '{}', which is not there: download it again",
         path.string(), fs::read_symlink(path, error).string());
  }
  return false;
}

void require_directory(const fs::path& directory) {
  std::error_code error;
  const fs::file_status status = fs::status(directory, error);
  if (fs::is_directory(status)) return;
  if (const auto shards = shard_count(directory.filename().string());
      fs::exists(status) && shards > 1) {
    fail(
        "cannot open checkpoint '{}': it is one of the {} shards of a model; name the directory "
        "that holds all of them, with {} and config.json",
        directory.string(), shards, kIndex);
  }
  if (fs::exists(status)) {
    fail("cannot open checkpoint '{}': it is a file, name the directory that holds it",
         directory.string());
  }
  if (error && status.type() != fs::file_type::not_found) {
    fail("cannot open checkpoint '{}': {}", directory.string(), error.message());
  }
  fail("cannot open checkpoint '{}': there is no such directory", directory.string());
}

// The error for a directory without config.json.
[[noreturn]] void fail_without_config(const fs::path& directory) {
  for (const std::string& name : file_names(directory)) {
    if (name == "adapter_config.json" || name == "adapter_model.safetensors") {
      fail(
          "cannot open checkpoint '{}': it holds an adapter ({}) and no whole model; merge it into "
          "its base first (merge_and_unload of peft)",
          directory.string(), name);
    }
    if (name == "params.json" || name.starts_with("consolidated")) {
      fail(
          "cannot open checkpoint '{}': it holds '{}', the layout of the model's authors, and no "
          "config.json; download transformers' layout of it, or convert it (the model's "
          "convert_..._weights_to_hf.py in transformers)",
          directory.string(), name);
    }
    if (!name.ends_with(".onnx") && !name.ends_with(".gguf")) continue;
    fail(
        "cannot open checkpoint '{}': it holds '{}', which other programs run, and no config.json; "
        "name the checkpoint that it was made of, with its widths",
        directory.string(), name);
  }
  fail("cannot open checkpoint '{}': it holds no config.json", directory.string());
}

// Not what a training run keeps beside the weights.
bool is_pickled_weights(const std::string& name) {
  if (name.ends_with(".bin")) return name.starts_with("pytorch_model");
  if (!name.ends_with(".pt") && !name.ends_with(".pth") && !name.ends_with(".ckpt")) return false;
  for (const std::string_view other : {"optimizer", "scheduler", "rng_state", "scaler"}) {
    if (name.starts_with(other)) return false;
  }
  return true;
}

// A file of a format that other programs run; empty: there is none.
std::string exported_file(const fs::path& directory) {
  for (const std::string& name : file_names(directory)) {
    if (name.ends_with(".onnx") || name.ends_with(".gguf")) return name;
  }
  return "";
}

// The error for a directory without model.safetensors: what lies there instead, and what helps.
[[noreturn]] void fail_without_tensors(const fs::path& directory) {
  std::vector<std::string> pickled, safetensors, consolidated;
  for (const std::string& name : file_names(directory)) {
    const bool tensors = name.ends_with(".safetensors"), pickle = is_pickled_weights(name);
    if (name == kProbeFile || name == kCompensationFile || !(tensors || pickle)) continue;
    const bool of_authors = name.starts_with("consolidated");
    (of_authors ? consolidated : tensors ? safetensors : pickled).push_back(name);
  }
  if (std::ranges::find(safetensors, "adapter_model.safetensors") != safetensors.end()) {
    fail(
        "cannot open checkpoint '{}': it holds an adapter (adapter_model.safetensors) and no whole "
        "model; merge it into its base first (merge_and_unload of peft)",
        directory.string());
  }
  if (!consolidated.empty() && safetensors.empty() && pickled.empty()) {
    fail(
        "cannot open checkpoint '{}': '{}' holds the tensors under the names of the model's "
        "authors; "
        "download {} of the same model, or the shards that {} names",
        directory.string(), consolidated.front(), kSingle, kIndex);
  }
  if (const auto shards = safetensors.empty() ? 0 : shard_count(safetensors.front());
      safetensors.size() == 1 && shards > 1) {
    fail(
        "cannot open checkpoint '{}': it holds '{}', one of the {} shards of a model, and no {} "
        "that says which tensor is where: download the other files, too",
        directory.string(), safetensors.front(), shards, kIndex);
  }
  if (safetensors.size() == 1) {
    fail(
        "cannot open checkpoint '{}': it holds '{}' but neither {} nor {}; if that file holds the "
        "whole model under transformers' names, rename it to {}",
        directory.string(), safetensors.front(), kSingle, kIndex, kSingle);
  }
  if (!safetensors.empty()) {
    fail(
        "cannot open checkpoint '{}': it holds {} safetensors files, such as '{}', but no {} that "
        "says which tensor is where: download it too",
        directory.string(), safetensors.size(), safetensors.front(), kIndex);
  }
  if (!pickled.empty()) {
    const bool shards = pickled.size() > 1 && pickled.front().starts_with("pytorch_model-");
    fail(
        "cannot open checkpoint '{}': '{}' is pickled, which can run code and is never opened "
        "here; {}",
        directory.string(), pickled.front(),
        conversion_command(directory, shards ? kPickledShards : pickled.front()));
  }
  if (const std::string name = exported_file(directory); !name.empty()) {
    fail(
        "cannot open checkpoint '{}': it holds '{}', which other programs run, and neither {} nor "
        "{}; name the checkpoint that it was made of, with its widths",
        directory.string(), name, kSingle, kIndex);
  }
  fail("cannot open checkpoint '{}': it holds neither {} nor {}", directory.string(), kSingle,
       kIndex);
}

// The index's map of tensor names to file names, the files being plain names in the directory.
std::map<std::string, std::string> read_index(const fs::path& path) {
  const nlohmann::json index = read_json(path);
  const auto found = index.is_object() ? index.find("weight_map") : index.end();
  if (!index.is_object() || found == index.end() || !found->is_object() || found->empty()) {
    fail("cannot read '{}': it has no weight_map of tensor names to files", path.string());
  }
  std::map<std::string, std::string> map;
  for (const auto& [name, file] : found->items()) {
    // Names end up in messages on somebody's terminal: escape sequences stay out.
    const std::string text = file.is_string() ? file.get<std::string>() : "";
    if (std::ranges::any_of(name + text, [](unsigned char c) { return c < 0x20 || c == 0x7f; })) {
      fail("cannot read '{}': a name in its weight_map holds control characters", path.string());
    }
    if (text.find('/') != std::string::npos || !text.ends_with(".safetensors")) {
      fail("cannot read '{}': the file of tensor '{}' is no safetensors file beside the index",
           path.string(), name);
    }
    map.emplace(name, text);
  }
  return map;
}

// None of a tensor that a config alone describes.
std::uint64_t readable_bytes(const StoredTensor& tensor) {
  return tensor.decode ? tensor.bytes() : tensor.data.size();
}

}  // namespace

std::int64_t StoredTensor::elements() const { return element_count(shape); }

std::uint64_t StoredTensor::bytes() const {
  return static_cast<std::uint64_t>(elements()) * size_of(dtype);
}

struct Checkpoint::Impl {
  fs::path directory;
  nlohmann::json config;
  std::vector<MappedFile> files;
  std::vector<fs::path> shards;
  std::shared_ptr<const void> storage;  // of assembled tensors
  std::vector<StoredTensor> tensors;
  std::map<std::string, std::string> left_aside;
  std::deque<std::string> other_names;
  std::map<std::string, StoredTensor, std::less<>> of_rows;  // by their names
  // Views of tensors[i].name and of other_names.
  std::unordered_map<std::string_view, std::size_t, SeededHash> by_name;

  void read(const StoredTensor& tensor, std::uint64_t begin, std::span<std::byte> into) const {
    const std::uint64_t bytes = readable_bytes(tensor);
    if (begin > bytes || into.size() > bytes - begin) {
      fail("cannot read {} bytes from byte {} of tensor '{}': it has {}", into.size(), begin,
           tensor.name, bytes);
    }
    if (tensor.decode) {
      tensor.decode(begin, into);
    } else if (tensor.shard < files.size()) {
      files[tensor.shard].read(tensor.offset + begin, into);
    } else {
      std::ranges::copy(tensor.data.subspan(begin, into.size()), into.begin());
    }
  }

  void read_shard(const fs::path& path) {
    MappedFile file(path);
    SafetensorsHeader header = parse_safetensors(file.bytes(), file.bytes().size(), path.string());
    for (TensorEntry& entry : header.tensors) {
      const std::uint64_t offset = header.data_offset + entry.begin;
      tensors.push_back({.name = std::move(entry.name),
                         .dtype = entry.dtype,
                         .shape = std::move(entry.shape),
                         .shard = files.size(),
                         .offset = offset,
                         .data = file.bytes().subspan(offset, entry.end - entry.begin),
                         .decode = {},
                         .skipped = 0,
                         .block = 0,
                         .step = 0});
    }
    for (OtherTensor& other : header.others) {
      left_aside.emplace(std::move(other.name), std::move(other.dtype));
    }
    files.push_back(std::move(file));
    shards.push_back(path);
  }

  void index_names() {
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const auto [known, is_new] = by_name.emplace(tensors[i].name, i);
      if (is_new) continue;
      if (shards.empty()) {
        fail("cannot open checkpoint '{}': tensor '{}' is there twice", directory.string(),
             tensors[i].name);
      }
      fail("cannot open checkpoint '{}': tensor '{}' is in '{}' and in '{}'", directory.string(),
           tensors[i].name, shards[tensors[known->second].shard].filename().string(),
           shards[tensors[i].shard].filename().string());
    }
  }

  void check_promises(const std::map<std::string, std::string>& index) const {
    for (const auto& [name, file] : index) {
      const auto found = by_name.find(name);
      if (found == by_name.end() && left_aside.contains(name)) continue;
      if (found == by_name.end()) {
        fail(
            "cannot open checkpoint '{}': {} says that tensor '{}' is in '{}', but it is in no "
            "shard",
            directory.string(), kIndex, name, file);
      }
      const std::string where = shards[tensors[found->second].shard].filename().string();
      if (where != file) {
        fail("cannot open checkpoint '{}': {} says that tensor '{}' is in '{}', but it is in '{}'",
             directory.string(), kIndex, name, file, where);
      }
    }
  }
};

Checkpoint::Checkpoint() : impl_(std::make_unique<Impl>()) {}
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;
Checkpoint& Checkpoint::operator=(Checkpoint&&) noexcept = default;
Checkpoint::~Checkpoint() = default;

fs::path snapshot_of(const fs::path& directory) {
  const fs::path snapshots = directory / "snapshots";
  std::error_code error;
  if (fs::exists(directory / "config.json", error) || !fs::is_directory(snapshots, error)) {
    return directory;
  }
  const std::vector<std::string> revisions = file_names(snapshots);
  std::string main;
  if (fs::is_regular_file(directory / "refs/main", error)) {
    main = read_text(directory / "refs/main", kLongestRevision);
    const auto is_other = [](unsigned char c) { return c <= ' ' || c > '~'; };
    main.erase(std::ranges::find_if(main, is_other), main.end());
  }
  if (std::ranges::find(revisions, main) != revisions.end()) return snapshots / main;
  if (main.empty() && revisions.size() == 1) return snapshots / revisions.front();
  if (main.empty()) {
    fail(
        "cannot open checkpoint '{}': it is a repository of a download cache with {} snapshots, "
        "and no refs/main names one of them; name one: '{}/REVISION'",
        directory.string(), revisions.size(), snapshots.string());
  }
  constexpr std::size_t kShown = 64;  // characters; a revision has 40
  fail(
      "cannot open checkpoint '{}': its refs/main names the revision '{}', and '{}' holds {}; "
      "download that revision, or name the snapshot that you mean",
      directory.string(), main.substr(0, kShown), snapshots.string(), listed(revisions));
}

Checkpoint Checkpoint::open(const fs::path& repository) {
  require_directory(repository);
  const fs::path directory = snapshot_of(repository);
  Checkpoint checkpoint;
  Impl& impl = *checkpoint.impl_;
  impl.directory = directory;
  if (!present(directory / "config.json")) {
    fail_without_config(directory);
  }
  impl.config = read_json(directory / "config.json");
  if (!impl.config.is_object()) {
    fail("cannot read '{}': it is no JSON object", (directory / "config.json").string());
  }
  const auto read_compensation = [&] {
    if (present(directory / kCompensationFile)) impl.read_shard(directory / kCompensationFile);
  };
  if (present(directory / kSingle)) {
    impl.read_shard(directory / kSingle);
    read_compensation();
    impl.index_names();
    return checkpoint;
  }
  if (!present(directory / kIndex)) fail_without_tensors(directory);
  const auto index = read_index(directory / kIndex);
  std::map<std::string, std::string> files;  // file -> a tensor that it must hold, by file name
  for (const auto& [name, file] : index) files.emplace(file, name);
  for (const auto& [file, name] : files) {
    if (!present(directory / file)) {
      fail("cannot open checkpoint '{}': shard '{}', which should hold '{}', is missing",
           directory.string(), file, name);
    }
    impl.read_shard(directory / file);
  }
  read_compensation();
  impl.index_names();
  impl.check_promises(index);
  return checkpoint;
}

Checkpoint Checkpoint::open_with(const fs::path& directory, nlohmann::json config,
                                 std::span<const std::string> left_out, const fs::path& file) {
  Checkpoint checkpoint = open(directory);
  Impl& impl = *checkpoint.impl_;
  impl.config = std::move(config);
  impl.by_name.clear();  // it views the names
  std::erase_if(impl.tensors, [&](const StoredTensor& tensor) {
    return std::ranges::find(left_out, tensor.name) != left_out.end();
  });
  impl.read_shard(file);
  impl.index_names();
  return checkpoint;
}

Checkpoint Checkpoint::assemble(fs::path directory, nlohmann::json config,
                                std::vector<StoredTensor> tensors,
                                std::shared_ptr<const void> storage) {
  Checkpoint checkpoint;
  Impl& impl = *checkpoint.impl_;
  impl.directory = std::move(directory);
  impl.config = std::move(config);
  impl.storage = std::move(storage);
  impl.tensors = std::move(tensors);
  impl.index_names();
  return checkpoint;
}

void Checkpoint::add_names(const std::map<std::string, std::string>& names) {
  for (const auto& [stored, other] : names) {
    const auto found = impl_->by_name.find(stored);
    if (found == impl_->by_name.end()) continue;
    const std::string& kept = impl_->other_names.emplace_back(other);
    if (!impl_->by_name.emplace(kept, found->second).second) {
      fail("cannot open checkpoint '{}': tensors '{}' and '{}' are two names of one tensor",
           impl_->directory.string(), stored, other);
    }
  }
}

void Checkpoint::add_rows(const InterleavedRows& part) {
  const auto found = impl_->by_name.find(part.stored);
  if (found == impl_->by_name.end()) return;
  const StoredTensor& whole = impl_->tensors[found->second];
  if (whole.shape.empty() || whole.shape.front() != part.height) {
    fail(
        "checkpoint '{}' disagrees with its config.json: tensor '{}' has the shape {}, expected {} "
        "rows",
        impl_->directory.string(), part.stored, shape_text(whole.shape), part.height);
  }
  StoredTensor tensor = whole;
  tensor.name = part.name;
  tensor.data = {};
  tensor.shape.front() = part.height / part.period * part.rows;
  const std::uint64_t row =
      part.height > 0 ? whole.bytes() / static_cast<std::uint64_t>(part.height) : 0;
  tensor.skipped = row * static_cast<std::uint64_t>(part.first);
  tensor.block = row * static_cast<std::uint64_t>(part.rows);
  tensor.step = row * static_cast<std::uint64_t>(part.period);
  tensor.decode = [impl = impl_.get(), &whole, skipped = tensor.skipped, block = tensor.block,
                   step = tensor.step](std::uint64_t begin, std::span<std::byte> into) {
    while (!into.empty()) {
      const std::uint64_t within = begin % block, n = std::min(block - within, into.size());
      impl->read(whole, skipped + begin / block * step + within, into.first(n));
      begin += n;
      into = into.subspan(n);
    }
  };
  if (find(part.name) != nullptr || !impl_->of_rows.emplace(part.name, std::move(tensor)).second) {
    fail("cannot open checkpoint '{}': tensor '{}' is there, and in the rows of '{}' too",
         impl_->directory.string(), part.name, part.stored);
  }
}

const fs::path& Checkpoint::directory() const { return impl_->directory; }
const nlohmann::json& Checkpoint::config() const { return impl_->config; }
const std::vector<StoredTensor>& Checkpoint::tensors() const { return impl_->tensors; }
const std::vector<fs::path>& Checkpoint::shards() const { return impl_->shards; }

const std::map<std::string, std::string>& Checkpoint::left_aside() const {
  return impl_->left_aside;
}

const StoredTensor* Checkpoint::find(std::string_view name) const {
  const auto found = impl_->by_name.find(name);
  if (found != impl_->by_name.end()) return &impl_->tensors[found->second];
  const auto part = impl_->of_rows.find(name);
  return part == impl_->of_rows.end() ? nullptr : &part->second;
}

const StoredTensor& Checkpoint::at(std::string_view name) const {
  if (const StoredTensor* tensor = find(name)) return *tensor;
  fail("checkpoint '{}' has no tensor '{}'", impl_->directory.string(), name);
}

void Checkpoint::read(const StoredTensor& tensor, std::uint64_t begin,
                      std::span<std::byte> into) const {
  impl_->read(tensor, begin, into);
}

void Checkpoint::check_unchanged() const {
  for (const MappedFile& file : impl_->files) file.check_unchanged();
}

std::string Checkpoint::fingerprint() const {
  std::vector<const StoredTensor*> sorted;
  for (const StoredTensor& tensor : impl_->tensors) sorted.push_back(&tensor);
  std::ranges::sort(sorted, {}, &StoredTensor::name);

  Fingerprint fingerprint;
  fingerprint.add(impl_->config.dump());
  SampledBytes data;
  for (const StoredTensor* tensor : sorted) {
    fingerprint.add(tensor->name);
    fingerprint.add(to_string(tensor->dtype));
    fingerprint.add(shape_text(tensor->shape));
    data.append(readable_bytes(*tensor),
                [this, tensor](std::uint64_t begin, std::span<std::byte> into) {
                  read(*tensor, begin, into);
                });
  }
  data.feed(fingerprint);
  return fingerprint.hex();
}

namespace {
// A tensor that a layer's width cuts is the layer's own.
bool is_cut(const TensorSpec& spec) { return spec.layer >= 0 && spec.cut_dim >= 0; }
}  // namespace

void check_tensors(const Checkpoint& checkpoint, const NestedModel& model,
                   std::span<const std::string> ignored) {
  std::string first;
  std::size_t problems = 0;
  const auto note = [&](const auto& tensor, const std::string& trouble) {
    if (problems++ > 0) return;
    first =
        fmt::format("tensor '{}' of shape {} {}", tensor.name, shape_text(tensor.shape), trouble);
  };
  std::unordered_set<std::string_view> expected;
  for (const TensorSpec& spec : model.table.tensors) {
    expected.insert(spec.name);
    const StoredTensor* tensor = checkpoint.find(spec.name);
    if (const auto aside = checkpoint.left_aside().find(spec.name);
        tensor == nullptr && aside != checkpoint.left_aside().end()) {
      note(spec, fmt::format("is there as {}, and F32, F16, BF16 and F64 are read", aside->second));
    } else if (tensor == nullptr) {
      note(spec, is_cut(spec) ? "is missing, perhaps because the file holds a tensor that layers "
                                "share (tied weights) only once; each layer needs its own"
                              : "is missing");
    } else if (tensor->shape != spec.shape) {
      note(spec, fmt::format("is there with shape {}", shape_text(tensor->shape)));
    }
  }
  for (const StoredTensor& tensor : checkpoint.tensors()) {
    const bool known =
        expected.contains(tensor.name) || std::ranges::any_of(ignored, [&](const std::string& end) {
          return tensor.name.ends_with(end);
        });
    if (!known) note(tensor, "is there, and the configuration has no such tensor");
  }
  if (problems == 0) return;
  fail("checkpoint '{}' disagrees with its config.json, read as {}: {}{}",
       checkpoint.directory().string(), model.family, first,
       problems == 1 ? "" : fmt::format(" (and {} more)", problems - 1));
}

}  // namespace mnm
