#include "export/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <set>
#include <type_traits>

#include "base/error.h"

namespace mnm {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::string_view kMagic = "GGUF";
constexpr std::uint32_t kVersion = 3;
constexpr std::int64_t kQ8Block = 32;
constexpr std::uint32_t kMaxDimensions = 4;

struct TypeRow {
  GgufType type;
  std::string_view name;
  std::int64_t block;  // elements
  std::uint64_t block_bytes;
};
constexpr TypeRow kTypes[] = {
    {GgufType::kF32, "f32", 1, 4},
    {GgufType::kF16, "f16", 1, 2},
    {GgufType::kBF16, "bf16", 1, 2},
    {GgufType::kQ8_0, "q8_0", kQ8Block, 2 + kQ8Block},
};

const TypeRow* type_row(GgufType type) {
  const TypeRow* row = std::ranges::find(kTypes, type, &TypeRow::type);
  return row == std::end(kTypes) ? nullptr : row;
}

// Numbers of the format's value types.
enum FieldType : std::uint32_t {
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
};

template <typename T>
constexpr std::uint32_t field_type() {
  if constexpr (std::is_same_v<T, std::uint32_t>) return kUint32;
  if constexpr (std::is_same_v<T, std::int32_t>) return kInt32;
  if constexpr (std::is_same_v<T, float>) return kFloat32;
  if constexpr (std::is_same_v<T, bool>) return kBool;
  if constexpr (std::is_same_v<T, std::string>) return kString;
  if constexpr (std::is_same_v<T, std::uint64_t>) return kUint64;
}

class Writer {
 public:
  template <typename T>
  void put(const T& value) {
    static_assert(std::is_arithmetic_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void put(const std::string& text) {
    put(std::uint64_t{text.size()});
    bytes_ += text;
  }
  template <typename T>
  void put(const std::vector<T>& list) {
    put(field_type<T>());
    put(std::uint64_t{list.size()});
    for (const T& item : list) put(item);
  }
  void field(const GgufValue& value) {
    std::visit(
        [this]<typename T>(const T& v) {
          if constexpr (std::is_same_v<T, std::vector<std::int32_t>> ||
                        std::is_same_v<T, std::vector<float>> ||
                        std::is_same_v<T, std::vector<std::string>>) {
            put(std::uint32_t{kArray});
          } else {
            put(field_type<T>());
          }
          put(v);
        },
        value);
  }
  std::string take() {
    bytes_.resize(aligned(bytes_.size()), '\0');
    return std::move(bytes_);
  }
  void raw(std::string_view text) { bytes_ += text; }

 private:
  std::string bytes_;
};

class Reader {
 public:
  Reader(std::span<const std::byte> file, const std::string& path) : file_(file), path_(path) {}

  template <typename T>
  T get() {
    T value{};
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string text() {
    const auto length = get<std::uint64_t>();
    const std::span<const std::byte> bytes = take(length);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  // A number of things that take at least `each` bytes: bounded by what is left of the file.
  std::uint64_t count(const char* what, std::uint64_t each) {
    const auto n = get<std::uint64_t>();
    if (n > left() / each) {
      fail("cannot read '{}': it claims {} {} in the {} bytes that are left", path_, n, what,
           left());
    }
    return n;
  }
  GgufValue value(const std::string& key) {
    const auto type = get<std::uint32_t>();
    switch (type) {
      case kUint32:
        return get<std::uint32_t>();
      case kInt32:
        return get<std::int32_t>();
      case kFloat32:
        return get<float>();
      case kBool:
        return get<std::uint8_t>() != 0;
      case kString:
        return text();
      case kUint64:
        return get<std::uint64_t>();
      case kArray:
        return array(key);
      default:
        fail("cannot read '{}': the field '{}' has type {}, which is not read here", path_, key,
             type);
    }
  }
  std::uint64_t position() const { return at_; }

 private:
  std::uint64_t left() const { return file_.size() - at_; }
  std::span<const std::byte> take(std::uint64_t bytes) {
    if (bytes > left()) {
      fail("cannot read '{}': it ends inside its head, at byte {}", path_, file_.size());
    }
    const auto part = file_.subspan(at_, bytes);
    at_ += bytes;
    return part;
  }
  GgufValue array(const std::string& key) {
    const auto type = get<std::uint32_t>();
    if (type == kInt32) {
      std::vector<std::int32_t> list(count("numbers", sizeof(std::int32_t)));
      for (std::int32_t& item : list) item = get<std::int32_t>();
      return list;
    }
    if (type == kFloat32) {
      std::vector<float> list(count("numbers", sizeof(float)));
      for (float& item : list) item = get<float>();
      return list;
    }
    if (type == kString) {
      std::vector<std::string> list(count("strings", sizeof(std::uint64_t)));
      for (std::string& item : list) item = text();
      return list;
    }
    fail("cannot read '{}': the field '{}' is an array of type {}, which is not read here", path_,
         key, type);
  }

  std::span<const std::byte> file_;
  const std::string& path_;
  std::uint64_t at_ = 0;
};

GgufEntry read_entry(Reader& reader, const std::string& path) {
  GgufEntry entry;
  entry.name = reader.text();
  const auto dimensions = reader.get<std::uint32_t>();
  if (dimensions < 1 || dimensions > kMaxDimensions) {
    fail("cannot read '{}': tensor '{}' has {} dimensions, expected 1 to {}", path, entry.name,
         dimensions, kMaxDimensions);
  }
  // Bounded so that no product of sizes, nor of a size and a block's bytes, can overflow.
  constexpr std::uint64_t kMax = std::uint64_t{1} << 48;
  std::uint64_t elements = 1;
  for (std::uint32_t i = 0; i < dimensions; ++i) {
    const auto size = reader.get<std::uint64_t>();
    if (size < 1 || size > kMax / elements) {
      fail("cannot read '{}': the sizes of tensor '{}' multiply past {}", path, entry.name, kMax);
    }
    elements *= size;
    entry.shape.insert(entry.shape.begin(), static_cast<std::int64_t>(size));
  }
  entry.type = static_cast<GgufType>(reader.get<std::uint32_t>());
  const TypeRow* row = type_row(entry.type);
  if (row == nullptr) {
    fail("cannot read '{}': tensor '{}' has type {}, which is not read here", path, entry.name,
         static_cast<std::uint32_t>(entry.type));
  }
  if (entry.shape.back() % row->block != 0) {
    fail("cannot read '{}': rows of tensor '{}' have {} elements, which are no whole blocks of {}",
         path, entry.name, entry.shape.back(), row->name);
  }
  entry.offset = reader.get<std::uint64_t>();
  return entry;
}

}  // namespace

std::string_view to_string(GgufType type) {
  const TypeRow* row = type_row(type);
  return row == nullptr ? "unknown" : row->name;
}

GgufType parse_gguf_type(std::string_view name) {
  for (const TypeRow& row : kTypes) {
    if (row.name == name) return row.type;
  }
  fail_usage("unknown dtype '{}': gguf holds f32, f16, bf16 and q8_0", name);
}

std::int64_t block_size(GgufType type) { return type_row(type)->block; }

std::uint64_t row_bytes(GgufType type, std::int64_t elements) {
  const TypeRow* row = type_row(type);
  return static_cast<std::uint64_t>(elements / row->block) * row->block_bytes;
}

std::uint64_t GgufEntry::bytes() const {
  std::int64_t elements = 1;
  for (const std::int64_t size : shape) elements *= size;
  return row_bytes(type, elements);
}

const GgufValue* GgufHead::find(std::string_view key) const {
  for (const auto& [name, value] : fields) {
    if (name == key) return &value;
  }
  return nullptr;
}

std::uint64_t aligned(std::uint64_t bytes) {
  return (bytes + kGgufAlignment - 1) / kGgufAlignment * kGgufAlignment;
}

std::string gguf_head(const GgufFields& fields, std::vector<GgufEntry>& tensors) {
  Writer out;
  std::set<std::string_view> keys, names;
  out.raw(kMagic);
  out.put(kVersion);
  out.put(std::uint64_t{tensors.size()});
  out.put(std::uint64_t{fields.size()});
  for (const auto& [key, value] : fields) {
    if (!keys.insert(key).second) {
      fail("cannot write a GGUF file: two of its fields are called '{}'", key);
    }
    out.put(key);
    out.field(value);
  }
  std::uint64_t offset = 0;
  for (GgufEntry& tensor : tensors) {
    if (!names.insert(tensor.name).second) {
      fail("cannot write a GGUF file: two of its tensors are called '{}'", tensor.name);
    }
    tensor.offset = offset;
    offset += aligned(tensor.bytes());
    out.put(tensor.name);
    out.put(static_cast<std::uint32_t>(tensor.shape.size()));
    for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size) {
      out.put(static_cast<std::uint64_t>(*size));
    }
    out.put(static_cast<std::uint32_t>(tensor.type));
    out.put(tensor.offset);
  }
  return out.take();
}

GgufHead parse_gguf(std::span<const std::byte> file, const std::string& path) {
  if (file.size() < kMagic.size() || std::memcmp(file.data(), kMagic.data(), kMagic.size()) != 0) {
    fail("cannot read '{}': it does not begin with {}", path, kMagic);
  }
  Reader reader(file, path);
  reader.get<std::uint32_t>();
  if (const auto version = reader.get<std::uint32_t>(); version != kVersion) {
    fail("cannot read '{}': it is GGUF version {}, expected {}", path, version, kVersion);
  }
  constexpr std::uint64_t kLeastField = 8 + 4 + 1, kLeastTensor = 8 + 4 + 8 + 4 + 8;
  // Both counts come first, so the tensors' is held against the whole file.
  const std::uint64_t tensors = reader.count("tensors", kLeastTensor);
  const std::uint64_t fields = reader.count("fields", kLeastField);
  GgufHead head;
  std::set<std::string> names;
  for (std::uint64_t i = 0; i < fields; ++i) {
    std::string key = reader.text();
    if (!names.insert(key).second)
      fail("cannot read '{}': the field '{}' is there twice", path, key);
    GgufValue value = reader.value(key);
    head.fields.emplace_back(std::move(key), std::move(value));
  }
  names.clear();
  for (std::uint64_t i = 0; i < tensors; ++i) {
    head.tensors.push_back(read_entry(reader, path));
    const std::string& name = head.tensors.back().name;
    if (!names.insert(name).second)
      fail("cannot read '{}': tensor '{}' is there twice", path, name);
  }
  head.data_offset = aligned(reader.position());
  std::uint64_t end = 0;  // of the tensor before, aligned
  for (const GgufEntry& tensor : head.tensors) {
    if (tensor.offset != end) {
      fail(
          "cannot read '{}': tensor '{}' is at {} of the data, expected {}, where the one before "
          "ends",
          path, tensor.name, tensor.offset, end);
    }
    end = aligned(tensor.offset + tensor.bytes());
    if (head.data_offset > file.size() || end > file.size() - head.data_offset) {
      fail("cannot read '{}': tensor '{}' lies past its end at {}", path, tensor.name, file.size());
    }
  }
  if (head.data_offset + end != file.size()) {
    fail("cannot read '{}': {} bytes are left over after its last tensor", path,
         file.size() - head.data_offset - end);
  }
  return head;
}

}  // namespace mnm
