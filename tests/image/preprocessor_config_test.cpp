#include "image/preprocessor_config.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/error_of.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

using nlohmann::json;
using test::contains;
using test::error_of;

std::string text_of(const char* config) {
  return parse_preprocessor_config(json::parse(config), "p").preparation.text();
}

TEST(PreprocessorConfig, HasTheRulesOfItsProcessor) {
  EXPECT_EQ(text_of(R"({"image_processor_type": "ViTImageProcessor"})"),
            "squashed to 224 x 224 (bilinear), as transformers");
  EXPECT_EQ(text_of(R"({"image_processor_type": "ViTImageProcessorFast", "resample": 3,
                        "size": {"height": 384, "width": 320}})"),
            "squashed to 320 x 384 (bicubic), as transformers");
  EXPECT_EQ(text_of(R"({"feature_extractor_type": "DeiTFeatureExtractor", "size": 256,
                        "crop_size": 224})"),
            "squashed to 256 x 256 (bicubic), crop 224 x 224, as transformers");
  EXPECT_EQ(text_of(R"({"image_processor_type": "BitImageProcessor",
                        "size": {"shortest_edge": 256},
                        "crop_size": {"height": 224, "width": 200}})"),
            "shorter side to 256 (bicubic), crop 200 x 224, as transformers");
  EXPECT_EQ(text_of(R"({"feature_extractor_type": "CLIPFeatureExtractor", "size": 224})"),
            "shorter side to 224 (bicubic), crop 224 x 224, as transformers");
  EXPECT_EQ(text_of(R"({"image_processor_type": "ViTImageProcessor", "do_resize": false})"),
            "size kept, as transformers");
}

TEST(PreprocessorConfig, HasTheScaleOfItsPixels) {
  const auto pixels = [](const char* config) {
    return parse_preprocessor_config(json::parse(config), "p").pixels;
  };
  EXPECT_EQ(pixels(R"({"image_processor_type": "ViTImageProcessor"})").mean,
            (std::vector<double>{0.5, 0.5, 0.5}));
  const PixelScale plain = pixels(R"({"image_processor_type": "ViTImageProcessor",
      "do_rescale": false, "do_normalize": false, "image_mean": [3], "image_std": [2]})");
  EXPECT_EQ(plain.scale, 1);
  EXPECT_EQ(plain.mean, (std::vector<double>{0}));
  EXPECT_EQ(plain.deviation, (std::vector<double>{1}));
}

TEST(PreprocessorConfig, ReadsTimmsConfig) {
  const auto text = [](const char* config) {
    return parse_pretrained_cfg(json::parse(config), "p").preparation.text();
  };
  EXPECT_EQ(text(R"({"input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.9})"),
            "shorter side to 248 (bicubic), crop 224 x 224, as timm");
  EXPECT_EQ(text(R"({"input_size": [3, 518, 518], "crop_pct": 1.0})"),
            "shorter side to 518 (bilinear), crop 518 x 518, as timm");
  EXPECT_EQ(text(R"({"input_size": [3, 384, 256], "crop_pct": 0.95, "crop_mode": "squash"})"),
            "squashed to 269 x 404 (bilinear), crop 256 x 384, as timm");
}

TEST(PreprocessorConfig, AnErrorNamesTheKey) {
  struct Case {
    const char *config, *phrase;
  };
  for (const auto& [config, phrase] : std::vector<Case>{
           {"[]", "expected a JSON object"},
           {"{}", "image processor '' is not known"},
           {R"({"image_processor_type": "OwlViTImageProcessor"})", "'OwlViTImageProcessor'"},
           {R"({"image_processor_type": "ViTImageProcessor", "resample": 0})", "resample is 0"},
           {R"({"image_processor_type": "ViTImageProcessor", "size": {"longest_edge": 3}})",
            "size is {\"longest_edge\":3}"},
           {R"({"image_processor_type": "ViTImageProcessor", "size": 0})", "size is 0"},
           {R"({"image_processor_type": "ViTImageProcessor", "do_resize": 1})", "do_resize is 1"},
           {R"({"image_processor_type": "ViTImageProcessor", "do_center_crop": true})",
            "without a crop_size"},
           {R"({"image_processor_type": "ViTImageProcessor", "image_mean": [1, 2]})",
            "2 means and 3 standard deviations"},
           {R"({"image_processor_type": "ViTImageProcessor", "image_std": [1, 0, 1]})",
            "a standard deviation of 0"}}) {
    const std::string error =
        error_of([&] { parse_preprocessor_config(json::parse(config), "p"); });
    EXPECT_TRUE(contains(error, phrase)) << error << " lacks " << phrase;
  }
  const std::string border = error_of([] {
    parse_pretrained_cfg(json::parse(R"({"input_size": [3, 8, 8], "crop_mode": "border"})"), "p");
  });
  EXPECT_TRUE(contains(border, "crop_mode is \"border\"")) << border;
}

TEST(PreprocessorConfig, ACheckpointSaysItInEitherFile) {
  const test::TempDir directory;
  EXPECT_FALSE(read_preprocessing(directory.path()));
  test::spew(directory / "config.json", R"({"pretrained_cfg": {"input_size": [3, 9, 9]}})");
  EXPECT_EQ(read_preprocessing(directory.path())->preparation.convention, Convention::kTimm);
  test::spew(directory / "preprocessor_config.json",
             R"({"image_processor_type": "ViTImageProcessor"})");
  EXPECT_EQ(read_preprocessing(directory.path())->preparation.convention,
            Convention::kTransformers);
}

}  // namespace
}  // namespace mnm
