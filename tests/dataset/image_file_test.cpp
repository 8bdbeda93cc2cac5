#include "dataset/image_file.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "dataset/npy.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

using test::contains;
using test::error_of;

const PixelScale kScale = {1.0 / 255, {0.5, 0.25, 0}, {0.5, 0.25, 2}};

template <typename T>
std::string array(const std::string& descr, const std::vector<std::int64_t>& shape,
                  const std::vector<T>& values) {
  std::string file = npy_head(descr, shape);
  file.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  return file;
}

class ImageFiles : public ::testing::Test {
 protected:
  ImageFiles() {
    for (std::size_t i = 0; i < 2 * 3 * 2 * 3; ++i) {
      bytes_.push_back(static_cast<std::uint8_t>(i * 7));
    }
    write("images.npy", array("|u1", {2, 3, 2, 3}, bytes_));
    write("labels.npy", array<std::int64_t>("<i8", {2}, {4, 0}));
  }
  void write(const char* name, const std::string& content) { test::spew(set_ / name, content); }
  ImageFile open() const { return {set_.path(), kScale}; }

  test::TempDir set_;
  std::vector<std::uint8_t> bytes_;
};

TEST_F(ImageFiles, BytesAreScaledAndChannelsComeFirst) {
  const ImageFile file = open();
  EXPECT_EQ(file.count(), 2);
  EXPECT_EQ(file.channels(), 3);
  EXPECT_EQ(file.height(), 3);
  EXPECT_EQ(file.width(), 2);
  EXPECT_EQ(file.labels(), (std::vector<std::int64_t>{4, 0}));
  std::vector<float> out(18), both(36);
  file.read(1, 1, out);
  file.read(0, 2, both);
  EXPECT_TRUE(std::equal(out.begin(), out.end(), both.begin() + 18));
  for (std::size_t c = 0; c < 3; ++c) {
    for (std::size_t p = 0; p < 6; ++p) {
      const double pixel = bytes_[18 + 3 * p + c];
      const double expected = (pixel / 255 - kScale.mean[c]) / kScale.deviation[c];
      // Three roundings to f32, of numbers below 4.
      EXPECT_NEAR(static_cast<double>(out[c * 6 + p]), expected, 3 * 4 * 0x1p-24) << c << ", " << p;
    }
  }
}

TEST_F(ImageFiles, FloatsAreTakenAsTheyAre) {
  std::vector<float> values;
  for (int i = 0; i < 12; ++i) values.push_back(0.1f * static_cast<float>(i) - 3);
  write("images.npy", array("<f4", {2, 1, 2, 3}, values));
  const ImageFile file(set_.path(), std::nullopt);
  EXPECT_EQ(file.channels(), 1);
  EXPECT_EQ(file.width(), 3);
  std::vector<float> out(12);
  file.read(0, 2, out);
  EXPECT_EQ(out, values);
  for (const float wrong : {std::nanf(""), -INFINITY}) {
    values[7] = wrong;
    write("images.npy", array("<f4", {2, 1, 2, 3}, values));
    const ImageFile other(set_.path(), std::nullopt);
    other.read(0, 1, std::span(out).first(6));
    for (std::int64_t first : {0, 1}) {
      const std::string error = test::error_of(
          [&] { other.read(first, 2 - first, std::span(out).first(6 * (2 - first))); });
      EXPECT_TRUE(test::contains(error, "image 1 has a pixel that is ")) << error;
    }
  }
}

TEST_F(ImageFiles, LabelsOfOtherTypesAreTheSame) {
  const std::string before = open().fingerprint();
  write("labels.npy", array<std::int32_t>("<i4", {2}, {4, 0}));
  EXPECT_EQ(open().fingerprint(), before);
  write("labels.npy", array<std::uint8_t>("|u1", {2}, {4, 0}));
  EXPECT_EQ(open().fingerprint(), before);
}

TEST_F(ImageFiles, TheFingerprintIsOfPixelsLabelsAndScale) {
  const std::string before = open().fingerprint();
  EXPECT_EQ(open().fingerprint(), before);
  PixelScale other = kScale;
  other.mean[1] = 0.26;
  EXPECT_NE(ImageFile(set_.path(), other).fingerprint(), before);
  write("labels.npy", array<std::int64_t>("<i8", {2}, {4, 1}));
  EXPECT_NE(open().fingerprint(), before);
  write("labels.npy", array<std::int64_t>("<i8", {2}, {4, 0}));
  ++bytes_[35];
  write("images.npy", array("|u1", {2, 3, 2, 3}, bytes_));
  EXPECT_NE(open().fingerprint(), before);
}

TEST_F(ImageFiles, AnErrorSaysWhatIsWrong) {
  const std::vector<std::int64_t> labels = {1, 2};
  const std::string images = array("|u1", {2, 3, 2, 3}, bytes_);
  struct Case {
    const char* name;
    std::string content, phrase;
  };
  for (const auto& [name, content, phrase] : std::vector<Case>{
           {"images.npy", "x", "it is no .npy file"},
           {"images.npy", images.substr(0, 60), "is cut off"},
           {"images.npy", images.substr(0, images.size() - 1), "another size than its header says"},
           {"images.npy", images + "x", "another size than its header says"},
           {"images.npy", array("|u1", {2, 18}, bytes_), "has shape [2, 18], expected [N, height"},
           {"images.npy", array<std::uint8_t>("|u1", {0, 3, 2, 3}, {}), "it holds none"},
           {"images.npy", array<std::uint8_t>("|u1", {2, 0, 2, 3}, {}), "has shape [2, 0, 2, 3]"},
           {"images.npy", array("|u1", {2, 3, 6, 1}, bytes_), "1 channels"},
           {"images.npy", array("<f8", {2, 3, 2, 3}, bytes_), "its elements are '<f8'"},
           {"images.npy", array("|u1", {1ll << 40, 1 << 20, 1 << 20, 1 << 20}, bytes_),
            "another size than its header says"},
           {"labels.npy", array("<i8", {2, 1}, labels), "of one dimension"},
           {"labels.npy", array("<f4", {2}, labels), "elements '<f4'"},
           {"labels.npy", array<std::int64_t>("<i8", {1}, {1}), "it has 1 labels, and"},
           {"labels.npy", array<std::int64_t>("<i8", {2}, {1, -2}), "label 1 is -2"}}) {
    const test::TempDir other;
    test::spew(other / "images.npy", images);
    test::spew(other / "labels.npy", array("<i8", {2}, labels));
    test::spew(other / name, content);
    const std::string error = error_of([&] { ImageFile(other.path(), kScale); });
    EXPECT_TRUE(contains(error, phrase)) << error << " / " << phrase;
  }
  std::string fortran = images;
  fortran.replace(fortran.find("False"), 5, "True ");
  write("images.npy", fortran);
  EXPECT_TRUE(contains(error_of([&] { open(); }), "in Fortran's order"));
  write("images.npy", images);
  EXPECT_TRUE(contains(error_of([&] { ImageFile(set_.path(), std::nullopt); }),
                       "no preprocessor_config.json"));
}

}  // namespace
}  // namespace mnm
