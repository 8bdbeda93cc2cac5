#include "dataset/image_examples.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "dataset/example_subset.h"
#include "dataset/npy.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

using test::contains;
using test::error_of;

// Six images of 2 x 3 x 3 (channels, height, width), of a model with 4 classes and 5 positions.
class ImageSets : public ::testing::Test {
 protected:
  ImageSets() {
    model_.input = {InputType::kPixels, {2, 3, 3}};
    model_.one_output = true;
    model_.vocab_size = 4;
    model_.max_context = 5;
    write("set", {2, 0, 1, 3, 3, 1});
  }

  // Image i is all (10 i + seed).
  void write(const std::string& name, const std::vector<std::int64_t>& labels, int seed = 0) {
    const auto count = static_cast<std::int64_t>(labels.size());
    std::filesystem::create_directories(dir_ / name);
    std::string pixels = npy_head("|u1", std::vector<std::int64_t>{count, 3, 3, 2});
    for (std::int64_t i = 0; i < count; ++i) pixels.append(18, static_cast<char>(10 * i + seed));
    test::spew(dir_ / (name + "/images.npy"), pixels);
    std::string bytes = npy_head("<i8", std::vector<std::int64_t>{count});
    bytes.append(reinterpret_cast<const char*>(labels.data()), labels.size() * 8);
    test::spew(dir_ / (name + "/labels.npy"), bytes);
  }
  std::unique_ptr<Examples> load(ExampleOptions options = {}) const {
    if (options.path.empty()) options.path = dir_ / "set";
    options.pixels = [] { return PixelScale{1, {1, 2}, {2, 4}}; };
    return load_examples(options, model_);
  }
  std::string refusal(const std::function<void(NestedModel&)>& change,
                      const ExampleOptions& options = {}) {
    const NestedModel kept = model_;
    change(model_);
    const std::string error = error_of([&] { load(options); });
    model_ = kept;
    return error;
  }

  test::TempDir dir_;
  NestedModel model_;
};

TEST_F(ImageSets, AnExampleIsAnImageWithOneTarget) {
  const auto data = load();
  EXPECT_EQ(data->kind(), "images");
  EXPECT_EQ(data->name, "set");
  EXPECT_EQ(data->count, 6);
  EXPECT_EQ(data->context, 5);
  EXPECT_EQ(data->outputs(), 1);
  EXPECT_EQ(data->targets(), 1);
  EXPECT_EQ(data->share(), 1);
  EXPECT_EQ(data->input(), model_.input);
  std::vector<std::int64_t> targets(3);
  data->read_targets(2, 3, targets);
  EXPECT_EQ(targets, (std::vector<std::int64_t>{1, 3, 3}));
  const ExampleInputs images = inputs_of(*data, 2, 2);
  ASSERT_EQ(images.pixels.size(), 36);
  EXPECT_EQ(images.pixels[0], 9.5f);    // (20 - 1) / 2
  EXPECT_EQ(images.pixels[9], 4.5f);    // (20 - 2) / 4
  EXPECT_EQ(images.pixels[18], 14.5f);  // (30 - 1) / 2
  EXPECT_EQ(load({.path = dir_ / "set/"})->name, "set");

  const ExampleSubset some(*data, {1, 4});
  std::vector<std::int64_t> of_some(2);
  some.read_targets(0, 2, of_some);
  EXPECT_EQ(of_some, (std::vector<std::int64_t>{0, 3}));
  EXPECT_EQ(inputs_of(some, 1, 1).pixels[0], 19.5f);
}

TEST_F(ImageSets, AreIdentifiedByWhatTheModelGets) {
  const std::string all = load()->fingerprint;
  EXPECT_EQ(load()->fingerprint, all);
  const auto four = load({.path = {}, .max_tokens = 24});  // whole images of 5 positions
  EXPECT_EQ(four->count, 4);
  EXPECT_NE(four->fingerprint, all);
  write("relabelled", {2, 0, 1, 3, 3, 0});
  EXPECT_NE(load({.path = dir_ / "relabelled"})->fingerprint, all);
}

TEST_F(ImageSets, CountImagesThatTheyShare) {
  write("shifted", {0, 0}, 20);  // its images are the set's third and fourth
  write("other", {0, 0}, 5);
  const auto data = load(), shifted = load({.path = dir_ / "shifted"});
  EXPECT_EQ(data->shared_with(*shifted), 2);
  EXPECT_EQ(shifted->shared_with(*data), 2);
  EXPECT_EQ(data->shared_with(*load({.path = dir_ / "other"})), 0);
  EXPECT_EQ(data->shared_with(*data), 6);
}

TEST_F(ImageSets, ThatAreNotTheModelsAreRefused) {
  const auto nothing = [](NestedModel&) {};
  struct Case {
    std::string error;
    const char* phrase;
  };
  std::filesystem::create_directories(dir_ / "named");
  test::spew(dir_ / "named/classes.json", R"(["a", "b", "c"])");
  test::spew(dir_ / "named/images.npy", test::slurp(dir_ / "set/images.npy"));
  test::spew(dir_ / "named/labels.npy", test::slurp(dir_ / "set/labels.npy"));
  test::spew(dir_ / "text", "some text");
  const Case cases[] = {
      {refusal([](NestedModel& m) {
         m.input.shape = {2, 3, 4};
       }),
       "they are 2 x 3 x 3 (channels, height, width), and the model reads 2 x 3 x 4"},
      {refusal([](NestedModel& m) {
         m.input.shape = {3, 3, 3};
       }),
       "the model reads 3 x 3 x 3"},
      {refusal([](NestedModel& m) { m.vocab_size = 3; }),
       "image 3 has label 3, and the model's labels are 0 to 2"},
      {refusal(nothing, {.path = dir_ / "named"}), "it has 3 classes, and the model 4"},
      {refusal(nothing, {.path = dir_ / "text"}), "it is no image set, and the model reads images"},
      {refusal(nothing, {.path = dir_ / "absent"}), "it is no image set"},
      {refusal(nothing, {.path = {}, .context = 4}),
       "the model computes 5 positions of every image"},
      {refusal(nothing, {.path = {}, .max_tokens = 4}), "not one is within the 4 to be used"},
      {refusal(nothing, {.path = {}, .positions = {1, 2}}),
       "the model has one output for an image"},
      {refusal(nothing, {.path = {}, .format = TokenFormat::kBytes}), "the model reads images"},
      {refusal([](NestedModel& m) {
         m.input = {};
         m.max_context = 8;
         m.vocab_size = 256;
       }),
       "it is a set of images, and the model reads tokens"},
  };
  for (const auto& [error, phrase] : cases) {
    EXPECT_TRUE(contains(error, phrase)) << error << " / " << phrase;
  }
}

}  // namespace
}  // namespace mnm
