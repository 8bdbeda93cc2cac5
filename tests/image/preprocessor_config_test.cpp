#include "image/preprocessor_config.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
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

// The same rules in timm's words, but for the convention; pixels become the same numbers.
TEST(PreprocessorConfig, ReadsWhatItWritesForTimm) {
  for (const char* config :
       {R"({"image_processor_type": "ViTImageProcessor"})",
        R"({"image_processor_type": "ViTImageProcessor", "size": {"height": 28, "width": 21},
            "image_mean": [0.286], "image_std": [0.353], "resample": 1})",
        R"({"image_processor_type": "DeiTImageProcessor"})",
        R"({"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 248}})",
        R"({"image_processor_type": "ViTImageProcessor", "rescale_factor": 0.0078125})",
        R"({"image_processor_type": "ViTImageProcessor", "do_rescale": false})"}) {
    const Preprocessing rules = parse_preprocessor_config(json::parse(config), "p");
    const json written = pretrained_cfg_of(rules, "p");
    const Preprocessing read = parse_pretrained_cfg(written, "q");
    EXPECT_EQ(read.preparation.size, rules.preparation.size) << config;
    EXPECT_EQ(read.preparation.crop, rules.preparation.crop.value_or(rules.preparation.size));
    EXPECT_EQ(read.preparation.fit, rules.preparation.fit) << config;
    EXPECT_EQ(read.preparation.filter, rules.preparation.filter) << config;
    EXPECT_EQ(read.preparation.channels, rules.preparation.channels) << config;
    const auto scaled = [](const PixelScale& pixels, double pixel) {
      return (pixel * pixels.scale - pixels.mean.back()) / pixels.deviation.back();
    };
    for (const double pixel : {0.0, 17.0, 255.0}) {
      EXPECT_NEAR(scaled(read.pixels, pixel), scaled(rules.pixels, pixel), 1e-12 * 255) << config;
    }
    EXPECT_EQ(pretrained_cfg_of(read, "q"), written) << config;
  }
  // timm rounds down what it divides by the share.
  for (std::int64_t side = 1; side <= 300; ++side) {
    Preprocessing rules = parse_preprocessor_config(
        json::parse(R"({"image_processor_type": "DeiTImageProcessor"})"), "p");
    rules.preparation.size = {side, side};
    rules.preparation.crop = Extent{224, 224};
    if (2 * side < 224) continue;  // past what is read as a share
    EXPECT_EQ(parse_pretrained_cfg(pretrained_cfg_of(rules, "p"), "q").preparation.size,
              rules.preparation.size);
  }
}

TEST(PreprocessorConfig, WhatTimmHasNoRulesForIsRefused) {
  for (const auto& [config, phrase] : std::vector<std::pair<const char*, const char*>>{
           {R"({"image_processor_type": "ViTImageProcessor", "do_resize": false})", "size kept"},
           {R"({"image_processor_type": "BitImageProcessor", "do_center_crop": false})",
            "shorter side to 224"},
           {R"({"image_processor_type": "BitImageProcessor",
                "crop_size": {"height": 224, "width": 200}})",
            "crop 200 x 224"},
           {R"({"image_processor_type": "DeiTImageProcessor", "size": {"height": 256, "width": 250},
                "crop_size": 224})",
            "squashed to 250 x 256"}}) {
    const Preprocessing rules = parse_preprocessor_config(json::parse(config), "p");
    const std::string error = error_of([&, &of = rules] { pretrained_cfg_of(of, "here"); });
    EXPECT_TRUE(contains(error, "here: its pictures are prepared so: ")) << error;
    EXPECT_TRUE(contains(error, phrase)) << error << " lacks " << phrase;
  }
}

TEST(PreprocessorConfig, TimmsShareOfTheCropHasBounds) {
  const auto config = [](const std::string& share, const std::string& mode, int side) {
    return json::parse(
        fmt::format(R"({{"input_size": [3, {0}, {0}], "crop_pct": {1}, "crop_mode": "{2}"}})", side,
                    share, mode));
  };
  for (const std::string mode : {"center", "squash"}) {
    for (const char* share : {"1e-300", "5e-324", "1.3e-16", "0.0099", "0", "-1", "2.1", "1e300"}) {
      const std::string error =
          error_of([&] { parse_pretrained_cfg(config(share, mode, 224), "p"); });
      EXPECT_TRUE(contains(error, "expected 0.01 to 2")) << share << ": " << error;
    }
    for (const auto& [share, side] :
         std::vector<std::pair<const char*, int>>{{"0.01", 656}, {"0.5", 65536}, {"2", 1}}) {
      const std::string error = error_of([&, &most = side, &part = share] {
        parse_pretrained_cfg(config(part, mode, most), "p");
      });
      EXPECT_TRUE(contains(error, "a size of 1 to 65536")) << share << ": " << error;
    }
    const Extent most = parse_pretrained_cfg(config("0.01", mode, 655), "p").preparation.size;
    EXPECT_EQ(most, (Extent{65500, 65500}));
  }
  // As timm has it for volo_d4_448.
  EXPECT_EQ(parse_pretrained_cfg(config("1.15", "center", 448), "p").preparation.text(),
            "shorter side to 389 (bilinear), crop 448 x 448, as timm");
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
  test::spew(directory / "config.json", R"({"pretrained_cfg": {}})");
  EXPECT_FALSE(read_preprocessing(directory.path())) << "it says nothing";
  test::spew(directory / "preprocessor_config.json",
             R"({"image_processor_type": "ViTImageProcessor"})");
  EXPECT_EQ(read_preprocessing(directory.path())->preparation.convention,
            Convention::kTransformers);
}

}  // namespace
}  // namespace mnm
