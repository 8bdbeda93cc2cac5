#include "model/example_inputs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "model/example_words.h"
#include "model/random_inputs.h"

namespace mnm {
namespace {

TEST(ExampleInputs, HaveRoomForTheirExamples) {
  const ExampleInputs tokens = ExampleInputs::of({InputType::kTokenIds, {5}}, 3);
  EXPECT_EQ(tokens.tokens.size(), 15u);
  EXPECT_TRUE(tokens.pixels.empty());
  EXPECT_EQ(tokens.bytes().size(), 15u * 8);
  const ExampleInputs images = ExampleInputs::of({InputType::kPixels, {3, 2, 4}}, 2);
  EXPECT_EQ(images.pixels.size(), 48u);
  EXPECT_TRUE(images.tokens.empty());
  EXPECT_EQ(images.bytes().size(), 48u * 4);
  EXPECT_EQ(images.each.bytes(), 24u * 4);
  const ExampleInputs one = ExampleInputs::of_tokens({7, 8});
  EXPECT_EQ(one.count, 1);
  EXPECT_EQ(one.each, (InputSpec{InputType::kTokenIds, {2}}));
}

TEST(ExampleInputs, RandomOnesAreInTheirRangesAndTheSameForTheSameSeed) {
  NestedModel model;
  model.vocab_size = 7;
  Random random(3), again(3);
  const ExampleInputs tokens = random_inputs(model, 4, 50, random);
  EXPECT_EQ(tokens.tokens.size(), 200u);
  EXPECT_EQ(std::ranges::min(tokens.tokens), 0);
  EXPECT_EQ(std::ranges::max(tokens.tokens), 6);
  EXPECT_EQ(random_inputs(model, 4, 50, again).tokens, tokens.tokens);
  model.input = {InputType::kPixels, {2, 5, 5}};
  const ExampleInputs images = random_inputs(model, 3, 50, random);
  EXPECT_EQ(images.pixels.size(), 150u);
  EXPECT_GE(std::ranges::min(images.pixels), -1);
  EXPECT_LT(std::ranges::max(images.pixels), 1);
  EXPECT_LT(std::ranges::min(images.pixels), -0.8);
  EXPECT_GT(std::ranges::max(images.pixels), 0.8);
}

TEST(ExampleWords, ATextAboutTokensIsOneAboutImages) {
  const ExampleWords& images = words_of("images");
  EXPECT_EQ(in_words("loss, nats per token", images), "loss, nats per image");
  EXPECT_EQ(in_words("sequences of tokens", images), "images of images");
  EXPECT_EQ(in_words("FLOPs/token", words_of(InputType::kTokenIds)), "FLOPs/token");
  EXPECT_EQ(&words_of("anything else"), &words_of(InputType::kTokenIds));
  EXPECT_EQ(&words_of(InputType::kPixels), &images);
}

}  // namespace
}  // namespace mnm
