#include "image/preprocessor_config.h"

#include <fmt/format.h>

#include <cmath>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/json.h"

namespace mnm {
namespace {

using Json = nlohmann::json;

// Of crop_pct. timm's own are from 0.8 to 1.15; past 1 there are zeros around the picture.
constexpr double kLeastShare = 0.01, kMostShare = 2;

// An image processor, and what it does where its file is silent.
struct Processor {
  std::string_view name;  // without "ImageProcessor"
  bool shortest = false;  // a lone number is the shorter side; else both sides
  std::int64_t size = 224;
  std::int64_t crop = 0;  // 0: none
  ResizeFilter filter = ResizeFilter::kBilinear;
  double mean[3], deviation[3];
};

constexpr Processor kProcessors[] = {
    {"ViT", false, 224, 0, ResizeFilter::kBilinear, {0.5, 0.5, 0.5}, {0.5, 0.5, 0.5}},
    {"DeiT", false, 256, 224, ResizeFilter::kBicubic, {0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}},
    {"Bit",
     true,
     224,
     224,
     ResizeFilter::kBicubic,
     {0.48145466, 0.4578275, 0.40821073},
     {0.26862954, 0.26130258, 0.27577711}},
    {"CLIP",
     true,
     224,
     224,
     ResizeFilter::kBicubic,
     {0.48145466, 0.4578275, 0.40821073},
     {0.26862954, 0.26130258, 0.27577711}},
};

// One object of settings, whose errors say where they are.
class Settings {
 public:
  Settings(const Json& json, std::string what) : json_(json), what_(std::move(what)) {
    if (!json.is_object()) fail("{}: expected a JSON object", what_);
  }

  const Json* find(const char* key) const {
    const auto found = json_.find(key);
    return found == json_.end() || found->is_null() ? nullptr : &*found;
  }
  bool flag(const char* key, bool fallback) const {
    const Json* const value = find(key);
    if (!value) return fallback;
    if (!value->is_boolean()) refuse(key, "true or false");
    return value->get<bool>();
  }
  std::string text(const char* key, std::string_view fallback) const {
    const Json* const value = find(key);
    if (!value) return std::string(fallback);
    if (!value->is_string()) refuse(key, "a text");
    return value->get<std::string>();
  }
  double number(const char* key, double fallback) const {
    const Json* const value = find(key);
    return value ? number_of(*value, key) : fallback;
  }
  double number_of(const Json& value, const char* key) const {
    if (!value.is_number() || !std::isfinite(value.get<double>())) refuse(key, "a number");
    return value.get<double>();
  }
  std::int64_t side_of(const Json& value, const char* key) const {
    if (!value.is_number_integer() || value.get<double>() < 1 ||
        value.get<double>() > static_cast<double>(kLargestSide)) {
      refuse(key, fmt::format("sides of 1 to {} pixels", kLargestSide));
    }
    return value.get<std::int64_t>();
  }
  std::vector<double> numbers(const char* key, std::span<const double> fallback) const {
    const Json* const value = find(key);
    if (!value) return {fallback.begin(), fallback.end()};
    if (!value->is_array() || value->empty()) refuse(key, "a list of numbers, one a channel");
    std::vector<double> numbers;
    for (const Json& item : *value) numbers.push_back(number_of(item, key));
    return numbers;
  }
  [[noreturn]] void refuse(const char* key, std::string_view expected) const {
    fail("{}: {} is {}, expected {}", what_, key, json_.at(key).dump(), expected);
  }

 private:
  const Json& json_;
  std::string what_;
};

void check(const PixelScale& pixels, const std::string& what) {
  if (pixels.mean.size() != pixels.deviation.size()) {
    fail("{}: {} means and {} standard deviations, expected as many", what, pixels.mean.size(),
         pixels.deviation.size());
  }
  if (pixels.mean.size() != 1 && pixels.mean.size() != 3) {
    fail("{}: means of {} channels, expected 1 or 3", what, pixels.mean.size());
  }
  for (const double deviation : pixels.deviation) {
    if (!(deviation > 0))
      fail("{}: a standard deviation of {}, expected more than 0", what, deviation);
  }
}

const Processor& processor_of(const Settings& settings, const std::string& what) {
  std::string name = settings.text("image_processor_type", "");
  if (name.empty()) name = settings.text("feature_extractor_type", "");
  std::string_view stem = name;
  for (const std::string_view end : {"Fast", "Pil", "ImageProcessor", "FeatureExtractor"}) {
    if (stem.ends_with(end)) stem.remove_suffix(end.size());
  }
  for (const Processor& processor : kProcessors) {
    if (stem == processor.name) return processor;
  }
  fail(
      "{}: image processor '{}' is not known, expected ViT's, DeiT's, Bit's or CLIP's; give the "
      "rules as options",
      what, name);
}

Extent extent_of(const Settings& settings, const char* key, const std::string& what) {
  const Json& value = *settings.find(key);
  if (value.is_number()) {
    const std::int64_t side = settings.side_of(value, key);
    return {side, side};
  }
  const Settings sides(value, fmt::format("{}: {}", what, key));
  if (!sides.find("height") || !sides.find("width")) settings.refuse(key, "a height and a width");
  return {sides.side_of(*sides.find("height"), "height"),
          sides.side_of(*sides.find("width"), "width")};
}

void read_size(const Settings& settings, const Processor& processor, const std::string& what,
               Preparation& to) {
  to.fit = processor.shortest ? Fit::kShortest : Fit::kSquash;
  to.size = {processor.size, processor.size};
  const Json* const size = settings.find("size");
  if (!size) return;
  if (size->is_object() && size->contains("shortest_edge")) {
    if (size->size() != 1)
      settings.refuse("size", "a height and a width, or a shortest_edge alone");
    const std::int64_t side = settings.side_of(size->at("shortest_edge"), "size");
    to.fit = Fit::kShortest;
    to.size = {side, side};
    return;
  }
  if (size->is_object()) to.fit = Fit::kSquash;
  to.size = extent_of(settings, "size", what);
}

ResizeFilter filter_of(const Settings& settings, ResizeFilter fallback) {
  const Json* const code = settings.find("resample");
  if (!code) return fallback;
  switch (code->is_number_integer() ? code->get<std::int64_t>() : -1) {
    case 1:
      return ResizeFilter::kLanczos;
    case 2:
      return ResizeFilter::kBilinear;
    case 3:
      return ResizeFilter::kBicubic;
    case 4:
      return ResizeFilter::kBox;
    default:
      settings.refuse("resample", "1 (Lanczos), 2 (bilinear), 3 (bicubic) or 4 (box)");
  }
}

// The share of `grown` pixels that timm says for `side` of them: it rounds side / share down.
double crop_share(std::int64_t side, std::int64_t grown) {
  double share = static_cast<double>(side) / static_cast<double>(grown);
  while (std::floor(static_cast<double>(side) / share) < static_cast<double>(grown)) {
    share = std::nextafter(share, 0);
  }
  return share;
}

}  // namespace

Preprocessing parse_preprocessor_config(const Json& config, const std::string& what) {
  const Settings settings(config, what);
  const Processor& processor = processor_of(settings, what);
  Preprocessing result;
  Preparation& to = result.preparation;
  to.convention = Convention::kTransformers;
  if (settings.flag("do_resize", true)) read_size(settings, processor, what, to);
  to.filter = filter_of(settings, processor.filter);
  if (settings.flag("do_center_crop", processor.crop > 0)) {
    to.crop = {processor.crop, processor.crop};
    if (settings.find("crop_size")) to.crop = extent_of(settings, "crop_size", what);
    if (to.crop->height < 1) fail("{}: do_center_crop without a crop_size", what);
  }
  PixelScale& pixels = result.pixels;
  pixels.scale =
      settings.flag("do_rescale", true) ? settings.number("rescale_factor", 1.0 / 255) : 1;
  pixels.mean = settings.numbers("image_mean", processor.mean);
  pixels.deviation = settings.numbers("image_std", processor.deviation);
  if (!settings.flag("do_normalize", true)) {
    pixels.mean.assign(pixels.mean.size(), 0);
    pixels.deviation.assign(pixels.mean.size(), 1);
  }
  check(pixels, what);
  to.channels = static_cast<std::int64_t>(pixels.mean.size());
  return result;
}

Preprocessing parse_pretrained_cfg(const Json& config, const std::string& what) {
  constexpr double kMean[] = {0.485, 0.456, 0.406}, kDeviation[] = {0.229, 0.224, 0.225};
  const Settings settings(config, what);
  Preprocessing result;
  Preparation& to = result.preparation;
  to.convention = Convention::kTimm;
  const Json* const input = settings.find("input_size");
  if (!input || !input->is_array() || input->size() != 3) {
    fail("{}: input_size is absent or no list of channels, height and width", what);
  }
  const Extent crop{settings.side_of(input->at(1), "input_size"),
                    settings.side_of(input->at(2), "input_size")};
  const double share = settings.number("crop_pct", 0.875);
  if (!(share >= kLeastShare && share <= kMostShare)) {
    settings.refuse("crop_pct", fmt::format("{} to {}", kLeastShare, kMostShare));
  }
  const auto grown = [&](std::int64_t side) {
    const double size = std::floor(static_cast<double>(side) / share);
    if (size < 1 || size > static_cast<double>(kLargestSide)) {
      settings.refuse("crop_pct", fmt::format("a share of which {} pixels are a size of 1 to {}",
                                              side, kLargestSide));
    }
    return static_cast<std::int64_t>(size);
  };
  const std::string mode = settings.text("crop_mode", "center");
  if (mode != "center" && mode != "squash") settings.refuse("crop_mode", "center or squash");
  if (mode == "center" && crop.height != crop.width) {
    fail(
        "{}: an input of {} x {} with crop_mode center is not carried out here; give the rules as "
        "options",
        what, crop.width, crop.height);
  }
  to.fit = mode == "center" ? Fit::kShortest : Fit::kSquash;
  to.size = {grown(crop.height), grown(crop.width)};
  to.crop = crop;
  const std::string filter = settings.text("interpolation", "bilinear");
  if (filter != "bilinear" && filter != "bicubic" && filter != "lanczos" && filter != "box") {
    settings.refuse("interpolation", "bilinear, bicubic, lanczos or box");
  }
  to.filter = parse_resize_filter(filter);
  result.pixels.mean = settings.numbers("mean", kMean);
  result.pixels.deviation = settings.numbers("std", kDeviation);
  check(result.pixels, what);
  to.channels = static_cast<std::int64_t>(result.pixels.mean.size());
  return result;
}

Json pretrained_cfg_of(const Preprocessing& rules, const std::string& what) {
  const Preparation& from = rules.preparation;
  const Extent crop = from.crop.value_or(from.size);
  const bool squash = from.fit == Fit::kSquash, shortest = from.fit == Fit::kShortest;
  if ((squash || (shortest && from.crop && crop.height == crop.width)) && crop.height > 0) {
    const double scale = 255 * rules.pixels.scale;  // timm's pixels are of 0 to 1
    Json config = {{"input_size", {from.channels, crop.height, crop.width}},
                   {"interpolation", to_string(from.filter)},
                   {"crop_pct", crop_share(crop.height, from.size.height)},
                   {"crop_mode", squash ? "squash" : "center"},
                   {"mean", rules.pixels.mean},
                   {"std", rules.pixels.deviation}};
    for (const char* key : {"mean", "std"}) {
      for (Json& value : config[key]) value = value.get<double>() / scale;
    }
    const Preparation read = parse_pretrained_cfg(config, what).preparation;
    if (read.size == from.size) return config;
  }
  fail("{}: its pictures are prepared so: {}. timm's pretrained_cfg has no rules for that", what,
       from.text());
}

std::optional<Preprocessing> read_preprocessing(const std::filesystem::path& directory) {
  const std::filesystem::path own = directory / "preprocessor_config.json";
  if (std::filesystem::exists(own)) {
    return parse_preprocessor_config(read_json(own), own.string());
  }
  const std::filesystem::path config = directory / "config.json";
  if (!std::filesystem::exists(config)) return std::nullopt;
  const Json json = read_json(config);
  if (!json.is_object() || !json.contains("pretrained_cfg")) return std::nullopt;
  if (json.at("pretrained_cfg") == Json::object()) return std::nullopt;  // it says nothing
  return parse_pretrained_cfg(json.at("pretrained_cfg"), config.string() + ": pretrained_cfg");
}

}  // namespace mnm
