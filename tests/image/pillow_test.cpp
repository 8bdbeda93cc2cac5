// Decoding, resizing and cropping against Pillow, bit for bit. One Python process makes all files
// and says what their pixels are (pillow_cases.py).
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "image/decode.h"
#include "image/preparation.h"
#include "image/resize.h"
#include "tests/support/python.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

using nlohmann::json;

class Pillow : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!test::python_has("numpy-config")) return;
    folder_ = new test::TempDir;
    failure_ = test::python_failure("image/pillow_cases.py", {folder_->path()}, *folder_);
    if (!failure_.empty()) return;
    cases_ = json::parse(test::slurp(*folder_ / "cases.json"));
    expected_ = test::slurp(*folder_ / "expected");
  }
  static void TearDownTestSuite() { delete folder_; }

  void SetUp() override {
    if (folder_ == nullptr) GTEST_SKIP() << test::kNoPython;
    ASSERT_EQ(failure_, "");
  }

  static Image pixels_of(const json& where) {
    const auto shape = where.at("shape").get<std::vector<std::int64_t>>();
    Image image = blank_image({shape[0], shape[1]}, shape[2]);
    std::memcpy(image.pixels.data(), expected_.data() + where.at("at").get<std::size_t>(),
                image.pixels.size());
    return image;
  }

  static void expect_equal(const Image& got, const Image& expected, const json& what) {
    ASSERT_EQ(got.extent.height, expected.extent.height) << what;
    ASSERT_EQ(got.extent.width, expected.extent.width) << what;
    ASSERT_EQ(got.channels, expected.channels) << what;
    for (std::size_t i = 0; i < got.pixels.size(); ++i) {
      ASSERT_EQ(int{got.pixels[i]}, int{expected.pixels[i]}) << what << ", byte " << i;
    }
  }

  static inline test::TempDir* folder_ = nullptr;
  static inline std::string failure_, expected_;
  static inline json cases_;
};

TEST_F(Pillow, DecodesTheSamePixels) {
  ASSERT_GE(cases_["decode"].size(), 300u);
  for (const json& one : cases_["decode"]) {
    const std::string name = one["file"], file = test::slurp(*folder_ / name);
    const Image got = decode_image(std::as_bytes(std::span(file)), name,
                                   {one["channels"], one["upright"].get<bool>(), kMaxPixels});
    ASSERT_NO_FATAL_FAILURE(expect_equal(got, pixels_of(one), one));
  }
}

TEST_F(Pillow, ResizesToTheSamePixels) {
  ASSERT_EQ(cases_["resize"].size(), 400u);
  for (const json& one : cases_["resize"]) {
    const Image from = pixels_of(one["from"]), to = pixels_of(one["to"]);
    const ResizeFilter filter = parse_resize_filter(one["filter"].get<std::string>());
    const Extent& size = to.extent;
    ASSERT_NO_FATAL_FAILURE(expect_equal(resize(from, size, filter, {0, 0, size}), to, one));
    // A window holds what the whole has there.
    const Window window{size.height / 3, size.width / 2, {(size.height + 2) / 3, 1}};
    const Image part = resize(from, size, filter, window);
    for (std::int64_t y = 0; y < window.extent.height; ++y) {
      for (std::int64_t c = 0; c < to.channels; ++c) {
        ASSERT_EQ(int{part.row(y)[c]}, int{to.row(window.top + y)[window.left * to.channels + c]})
            << one << ", row " << y;
      }
    }
  }
}

TEST_F(Pillow, PreparesTheSamePixels) {
  ASSERT_EQ(cases_["prepare"].size(), 180u);
  for (const json& one : cases_["prepare"]) {
    Preparation preparation;
    preparation.convention = parse_convention(one["convention"].get<std::string>());
    preparation.filter = parse_resize_filter(one["filter"].get<std::string>());
    preparation.size = {one["size"][0], one["size"][1]};
    if (one["fit"] == "shortest") preparation.fit = Fit::kShortest;
    if (one["fit"] == "squash") preparation.fit = Fit::kSquash;
    if (!one["crop"].is_null()) preparation.crop = Extent{one["crop"][0], one["crop"][1]};
    ASSERT_NO_FATAL_FAILURE(expect_equal(prepare(pixels_of(one["from"]), preparation, "it"),
                                         pixels_of(one["to"]), one));
  }
}

}  // namespace
}  // namespace mnm
