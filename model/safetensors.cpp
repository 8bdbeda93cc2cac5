#include "model/safetensors.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>
#include <set>
#include <string_view>
#include <tuple>

#include "base/error.h"
#include "base/json.h"
#include "base/shell_word.h"
#include "model/shapes.h"

namespace mnm {
namespace {

using nlohmann::json;

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeader = 100'000'000;  // the reference implementation's limit
constexpr std::string_view kMetadata = "__metadata__";

// Everything said about a file is said by this.
struct Complaint {
  const std::string& path;

  template <typename... Args>
  [[noreturn]] void operator()(fmt::format_string<Args...> text, Args&&... args) const {
    fail("'{}' is no sound safetensors file: {}", path,
         fmt::format(text, std::forward<Args>(args)...));
  }
};

// Names what is often found where a safetensors file is expected.
void refuse_other_formats(std::span<const std::byte> head, const std::string& path) {
  const std::string_view text(reinterpret_cast<const char*>(head.data()),
                              std::min<std::size_t>(head.size(), 64));
  // A length prefix may begin with any bytes; what follows it tells the formats apart.
  if (text.size() > kLengthBytes && text[kLengthBytes] == '{') return;
  const bool zip = text.starts_with("PK\x03\x04");
  const bool pickle = text.size() >= 2 && text[0] == '\x80' && text[1] >= 2 && text[1] <= 5;
  if (zip || pickle) {
    fail("'{}' is a pickled PyTorch checkpoint, which can run code and is never opened here; {}",
         path,
         conversion_command(std::filesystem::path(path).parent_path(),
                            std::filesystem::path(path).filename().string()));
  }
  if (text.starts_with("version https://git-lfs")) {
    fail("'{}' is a Git LFS pointer, not the file itself: fetch it with `git lfs pull`", path);
  }
}

// Names end up in messages and tables on somebody's terminal: escape sequences stay out.
void check_name(std::string_view name, const Complaint& complain) {
  constexpr std::size_t kLongest = 1024;
  if (name.size() > kLongest) complain("a tensor's name has {} bytes", name.size());
  if (std::ranges::any_of(name, [](unsigned char c) { return c < 0x20 || c == 0x7f; })) {
    complain("the name {} holds control characters", json(name).dump(-1, ' ', true));
  }
}

// A short form of any value, for messages.
std::string brief(const json& value) {
  if (value.is_structured()) return fmt::format("an {}", value.type_name());
  const std::string text = value.dump(-1, ' ', true);
  return text.size() <= 40 ? text : text.substr(0, 40) + "...";
}

// The types that are read, and the others that the format knows, by their bits:
// https://github.com/huggingface/safetensors, Dtype in safetensors/src/tensor.rs.
struct StoredType {
  std::string_view name;
  std::uint64_t bits = 0;
  std::optional<Dtype> dtype{};
};
constexpr StoredType kStoredTypes[] = {{"F32", 32, Dtype::kF32},
                                       {"F16", 16, Dtype::kF16},
                                       {"BF16", 16, Dtype::kBF16},
                                       {"F64", 64, Dtype::kF64},
                                       {"BOOL", 8},
                                       {"U8", 8},
                                       {"I8", 8},
                                       {"U16", 16},
                                       {"I16", 16},
                                       {"U32", 32},
                                       {"I32", 32},
                                       {"U64", 64},
                                       {"I64", 64},
                                       {"C64", 64},
                                       {"F8_E4M3", 8},
                                       {"F8_E5M2", 8},
                                       {"F8_E8M0", 8},
                                       {"F8_E4M3FNUZ", 8},
                                       {"F8_E5M2FNUZ", 8},
                                       {"F6_E2M3", 6},
                                       {"F6_E3M2", 6},
                                       {"F4", 4}};

const StoredType& read_type(const json& value, const std::string& name, const Complaint& complain) {
  if (!value.is_string()) complain("the dtype of tensor '{}' is no string", name);
  const auto* found =
      std::ranges::find(kStoredTypes, value.get_ref<const std::string&>(), &StoredType::name);
  if (found == std::end(kStoredTypes)) {
    complain("tensor '{}' has dtype {}, which the format does not know", name, brief(value));
  }
  return *found;
}

std::vector<std::int64_t> read_shape(const json& value, const std::string& name,
                                     const Complaint& complain) {
  if (!value.is_array()) complain("the shape of tensor '{}' is no array", name);
  std::vector<std::int64_t> shape;
  for (const json& size : value) {
    // is_number_unsigned: the parser's word for integers from 0 to 2^64 - 1.
    if (!size.is_number_unsigned() || size.get<std::uint64_t>() > INT64_MAX) {
      complain("the shape of tensor '{}' holds {}, which is no size", name, brief(size));
    }
    shape.push_back(size.get<std::int64_t>());
  }
  return shape;
}

const json& member(const json& object, const char* key, const std::string& name,
                   const Complaint& complain) {
  const auto found = object.find(key);
  if (found == object.end()) complain("tensor '{}' has no {}", name, key);
  return *found;
}

// Nothing where it overflows, or ends within a byte.
std::optional<std::uint64_t> byte_size(const std::vector<std::int64_t>& shape, std::uint64_t bits) {
  const auto elements = try_element_count(shape);
  const std::uint64_t whole = bits % 8 == 0 ? bits / 8 : bits, parts = bits % 8 == 0 ? 1 : 8;
  std::uint64_t all = 0;
  if (!elements || __builtin_mul_overflow(*elements, whole, &all) || all % parts != 0) {
    return std::nullopt;
  }
  return all / parts;
}

// A tensor of whatever type, with the bytes it takes.
struct Entry {
  TensorEntry tensor;
  const StoredType* type = nullptr;
};

Entry read_entry(const std::string& name, const json& value, std::uint64_t data_size,
                 const Complaint& complain) {
  check_name(name, complain);
  if (!value.is_object()) complain("the entry of tensor '{}' is no object", name);
  const StoredType& type = read_type(member(value, "dtype", name, complain), name, complain);
  TensorEntry entry;
  entry.name = name;
  entry.dtype = type.dtype.value_or(Dtype::kF32);
  entry.shape = read_shape(member(value, "shape", name, complain), name, complain);
  const json& offsets = member(value, "data_offsets", name, complain);
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned()) {
    complain("the data_offsets of tensor '{}' are no pair of positions", name);
  }
  entry.begin = offsets[0].get<std::uint64_t>();
  entry.end = offsets[1].get<std::uint64_t>();
  if (entry.begin > entry.end) {
    complain("the data_offsets [{}, {}] of tensor '{}' are reversed", entry.begin, entry.end, name);
  }
  if (entry.end > data_size) {
    complain(
        "tensor '{}' ends at byte {} of the data, past its end at {}: the file is cut short or "
        "its header lies",
        name, entry.end, data_size);
  }
  const auto bytes = byte_size(entry.shape, type.bits);
  if (!bytes) complain("the shape {} of tensor '{}' overflows", shape_text(entry.shape), name);
  if (*bytes != entry.end - entry.begin) {
    complain("tensor '{}' holds {} bytes, where {} of shape {} take {}", name,
             entry.end - entry.begin, type.name, shape_text(entry.shape), *bytes);
  }
  return {std::move(entry), &type};
}

// The tensors must cover the data section without gap or overlap.
void check_coverage(const std::vector<Entry>& tensors, std::uint64_t data_size,
                    const Complaint& complain) {
  std::uint64_t end = 0;
  const TensorEntry* last = nullptr;
  for (const auto& [tensor, type] : tensors) {
    if (tensor.begin < end) complain("tensors '{}' and '{}' overlap", last->name, tensor.name);
    if (tensor.begin > end) {
      complain("bytes {} to {} of the data, before tensor '{}', belong to no tensor", end,
               tensor.begin, tensor.name);
    }
    end = tensor.end;
    last = &tensor;
  }
  if (end != data_size) {
    complain("{} bytes are left over after the last tensor", data_size - end);
  }
}

}  // namespace

SafetensorsHeader parse_safetensors(std::span<const std::byte> head, std::uint64_t file_size,
                                    const std::string& path) {
  const Complaint complain{path};
  refuse_other_formats(head, path);
  if (file_size < kLengthBytes || head.size() < kLengthBytes) {
    complain("it has only {} bytes", file_size);
  }
  std::uint64_t length = 0;
  std::memcpy(&length, head.data(), kLengthBytes);
  if (length > kMaxHeader) {
    complain("its header claims {} bytes, more than the {} that the format allows", length,
             kMaxHeader);
  }
  if (length > file_size - kLengthBytes || length > head.size() - kLengthBytes) {
    complain("its header claims {} bytes, but only {} follow: the file is cut short or not one",
             length, file_size - kLengthBytes);
  }
  const std::string_view text(reinterpret_cast<const char*>(head.data()) + kLengthBytes, length);
  if (!text.starts_with('{')) complain("its header does not start with '{{'");
  const json root = parse_json(text, path);

  SafetensorsHeader header;
  header.data_offset = kLengthBytes + length;
  const std::uint64_t data_size = file_size - header.data_offset;
  std::vector<Entry> entries;
  for (const auto& [name, value] : root.items()) {
    if (name != kMetadata) {
      entries.push_back(read_entry(name, value, data_size, complain));
      continue;
    }
    if (value.is_null()) continue;
    if (!value.is_object()) complain("its {} is no object", kMetadata);
    for (const auto& [key, entry] : value.items()) {
      if (!entry.is_string())
        complain("its {} holds {}, which is no string", kMetadata, brief(entry));
      header.metadata.emplace(key, entry.get<std::string>());
    }
  }
  std::ranges::sort(entries, {}, [](const Entry& entry) {
    return std::tuple(entry.tensor.begin, entry.tensor.end, std::string_view(entry.tensor.name));
  });
  check_coverage(entries, data_size, complain);
  for (auto& [tensor, type] : entries) {
    if (type->dtype) {
      header.tensors.push_back(std::move(tensor));
    } else {
      header.others.push_back({std::move(tensor.name), std::string(type->name),
                               std::move(tensor.shape), tensor.begin, tensor.end});
    }
  }
  return header;
}

std::string conversion_command(const std::filesystem::path& directory, const std::string& files) {
  const std::string target = shell_quoted((directory / "model.safetensors").string());
  std::string words = shell_quoted((directory / files).string());
  if (files == kPickledShards) {
    // The shell expands the pattern, so it stays outside the quotes.
    words = directory.empty() ? files : shell_quoted(directory.string()) + "/" + files;
  }
  // clone: tied tensors share storage, which the format refuses.
  return fmt::format(
      "convert it with: "
      "python -c \"import sys, torch, safetensors.torch as s; d = {{}}; "
      "[d.update(torch.load(f, weights_only=True, map_location='cpu')) for f in sys.argv[2:]]; "
      "s.save_file({{k: v.clone().contiguous() for k, v in d.items()}}, sys.argv[1], "
      "{{'format': 'pt'}})\" {} {}",
      target, words);
}

namespace {

std::string json_text(const std::string& text) {
  try {
    return json(text).dump();
  } catch (const json::exception&) {
    fail("cannot write a safetensors header: a name or metadata value is not UTF-8");
  }
}

std::string metadata_text(const std::map<std::string, std::string>& metadata) {
  std::string text = fmt::format("{}:{{", json_text(std::string(kMetadata)));
  bool first = true;
  for (const auto& [key, value] : metadata) {
    text += fmt::format("{}{}:{}", first ? "" : ",", json_text(key), json_text(value));
    first = false;
  }
  return text + '}';
}

const StoredType& type_of(const TensorEntry& tensor) {
  return *std::ranges::find(kStoredTypes, safetensors_name(tensor.dtype), &StoredType::name);
}

const StoredType& type_of(const OtherTensor& tensor) {
  const auto* found = std::ranges::find(kStoredTypes, tensor.dtype, &StoredType::name);
  if (found == std::end(kStoredTypes)) {
    fail("cannot write tensor '{}': the format does not know its type {}", tensor.name,
         tensor.dtype);
  }
  return *found;
}

template <typename Tensor>
std::string head_of(std::vector<Tensor>& tensors,
                    const std::map<std::string, std::string>& metadata, std::size_t alignment,
                    std::size_t place) {
  std::string text = "{";
  if (!metadata.empty()) text += metadata_text(metadata);
  std::set<std::string_view> names = {kMetadata};
  std::uint64_t end = 0;
  for (Tensor& tensor : tensors) {
    if (!names.insert(tensor.name).second) {
      fail("cannot write a safetensors header: the name '{}' is taken", tensor.name);
    }
    const StoredType& type = type_of(tensor);
    const auto bytes = byte_size(tensor.shape, type.bits);
    tensor.begin = end;
    if (!bytes || __builtin_add_overflow(end, *bytes, &end)) {
      fail("cannot write tensor '{}': its shape {} overflows", tensor.name,
           shape_text(tensor.shape));
    }
    tensor.end = end;
    if (text.size() > 1) text += ',';
    text += fmt::format(R"({}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                        json_text(tensor.name), type.name, fmt::join(tensor.shape, ","),
                        tensor.begin, tensor.end);
  }
  text += '}';
  text.append(
      (alignment + place % alignment - (kLengthBytes + text.size()) % alignment) % alignment, ' ');
  const std::uint64_t length = text.size();
  std::string head(kLengthBytes, '\0');
  std::memcpy(head.data(), &length, kLengthBytes);
  return head + text;
}

}  // namespace

std::string safetensors_head(std::vector<TensorEntry>& tensors,
                             const std::map<std::string, std::string>& metadata,
                             std::size_t alignment, std::size_t place) {
  return head_of(tensors, metadata, alignment, place);
}

std::string safetensors_head(std::vector<OtherTensor>& tensors,
                             const std::map<std::string, std::string>& metadata) {
  return head_of(tensors, metadata, 8, 0);
}

}  // namespace mnm
