#include "dataset/feature_file.h"

#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "dataset/npy.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kVectors = "-X.npy", kLabels = "-y.npy";

fs::path with(const fs::path& name, std::string_view end) {
  std::string text = name.string();
  if (text.ends_with(kVectors)) text.resize(text.size() - kVectors.size());
  return text + std::string(end);
}

template <typename T>
std::vector<T> numbers(std::span<const std::byte> bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
  return values;
}

struct Array {
  MappedFile file;
  NpyHeader header;

  explicit Array(const fs::path& path) : file(path) {
    const std::string_view bytes(reinterpret_cast<const char*>(file.bytes().data()),
                                 file.bytes().size());
    if (!bytes.starts_with(kNpyMagic)) {
      fail("cannot read features from {}: it is no .npy file", path.string());
    }
    header = read_npy_header(file.bytes(), path.string(), "features");
  }

  // The elements' bytes. Error unless the array has so many dimensions and these elements.
  std::span<const std::byte> of(std::string_view descr, std::uint64_t element,
                                std::size_t dimensions, std::string_view expected) const {
    if (header.descr != descr || header.shape.size() != dimensions || header.fortran_order) {
      fail("cannot read features from {}: it is {} of {} dimensions, expected {}",
           file.path().string(), header.descr, header.shape.size(), expected);
    }
    if (!header.elements_in(file.bytes().size(), element)) {
      fail("cannot read features from {}: it is not as long as its header says",
           file.path().string());
    }
    return file.bytes().subspan(static_cast<std::size_t>(header.offset));
  }
};

std::vector<std::int64_t> read_labels(const fs::path& path) {
  const Array array(path);
  constexpr std::string_view kExpected = "int64, int32 or uint8 of one dimension";
  std::vector<std::int64_t> labels;
  if (array.header.descr == "<i4") {
    const auto read = numbers<std::int32_t>(array.of("<i4", 4, 1, kExpected));
    labels.assign(read.begin(), read.end());
  } else if (array.header.descr == "|u1") {
    const auto read = numbers<std::uint8_t>(array.of("|u1", 1, 1, kExpected));
    labels.assign(read.begin(), read.end());
  } else {
    labels = numbers<std::int64_t>(array.of("<i8", 8, 1, kExpected));
  }
  return labels;
}

template <typename T>
void write_array(const fs::path& path, std::string_view descr, std::span<const std::int64_t> shape,
                 const std::vector<T>& values) {
  const std::string head = npy_head(descr, shape);
  AtomicFile whole(path);
  OutputFile file(whole.path());
  file.write(head);
  file.write(std::as_bytes(std::span(values)));
  file.close();
  whole.commit();
}

}  // namespace

fs::path vectors_file(const fs::path& name) { return with(name, kVectors); }

fs::path labels_file(const fs::path& name) { return with(name, kLabels); }

bool is_feature_file(const fs::path& name) {
  std::error_code error;
  return fs::exists(vectors_file(name), error);
}

Features read_features(const fs::path& name) {
  const Array array(vectors_file(name));
  Features features;
  features.vectors = numbers<float>(array.of("<f4", 4, 2, "f32 of two dimensions"));
  features.dimension = static_cast<std::int64_t>(array.header.shape[1]);
  features.labels = read_labels(labels_file(name));
  if (features.labels.size() != array.header.shape[0] || features.dimension == 0) {
    fail("cannot read features from {}: it has {} vectors of {} numbers, and {} has {} classes",
         vectors_file(name).string(), array.header.shape[0], features.dimension,
         labels_file(name).string(), features.labels.size());
  }
  return features;
}

void write_features(const fs::path& name, const Features& features) {
  const std::int64_t shape[] = {features.count(), features.dimension};
  write_array(labels_file(name), "<i8", std::span(shape).first(1), features.labels);
  write_array(vectors_file(name), "<f4", shape, features.vectors);
}

}  // namespace mnm
