#include "train/training_data.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/flip.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "dataset/image_examples.h"
#include "dataset/tokens.h"
#include "fold/batch.h"
#include "train/schedule.h"

namespace mnm {
namespace {

class TokenData final : public TrainingData {
 public:
  TokenData(const TrainSettings& settings, const NestedModel& model)
      : settings_(settings),
        vocab_size_(model.vocab_size),
        tokens_(settings.data, {settings.format, model.vocab_size, settings.text}) {
    require_a_sequence(settings, tokens_.size());
    if (settings.context > model.max_context) {
      fail_usage("--context {} is longer than the model's {}", settings.context, model.max_context);
    }
  }

  std::string kind() const override { return "tokens"; }
  std::string fingerprint() const override { return tokens_.fingerprint(); }

  TrainingBatch batch(std::int64_t step, std::int64_t micro_batch) const override {
    const std::int64_t context = settings_.context;
    const at::Tensor input = at::empty({settings_.batch, context}, at::kLong);
    const at::Tensor target = at::empty({settings_.batch * context}, at::kLong);
    std::vector<std::int64_t> row(static_cast<std::size_t>(context) + 1);
    auto* in = input.mutable_data_ptr<std::int64_t>();
    auto* out = target.mutable_data_ptr<std::int64_t>();
    for (const std::uint64_t start : draw_starts(settings_, tokens_.size(), step, micro_batch)) {
      tokens_.read(start, row, vocab_size_);
      in = std::copy(row.begin(), row.end() - 1, in);
      out = std::copy(row.begin() + 1, row.end(), out);
    }
    return {input, target};
  }

 private:
  const TrainSettings& settings_;
  std::int64_t vocab_size_;
  TokenFile tokens_;
};

// image and out: [channels, height, width]. Row y of the result is row y - down of the image, or
// the nearest that there is; columns likewise, after mirroring.
void place(const float* image, const std::vector<std::int64_t>& shape, const DrawnImage& drawn,
           float* out) {
  const std::int64_t height = shape[1], width = shape[2];
  for (std::int64_t c = 0; c < shape[0]; ++c, image += height * width) {
    for (std::int64_t y = 0; y < height; ++y) {
      const float* const row =
          image + std::clamp<std::int64_t>(y - drawn.down, 0, height - 1) * width;
      for (std::int64_t x = 0; x < width; ++x) {
        const std::int64_t from = std::clamp<std::int64_t>(x - drawn.right, 0, width - 1);
        *out++ = row[drawn.mirrored ? width - 1 - from : from];
      }
    }
  }
}

// The rectangle becomes the mean of the data, which is 0 once pixels are normalised.
void erase(const std::vector<std::int64_t>& shape, const DrawnImage& drawn, float* out) {
  if (drawn.height == 0) return;
  const auto pixels = [](double share, std::int64_t side) {
    return static_cast<std::int64_t>(std::llround(share * static_cast<double>(side)));
  };
  const std::int64_t height = shape[1], width = shape[2];
  const std::int64_t top = pixels(drawn.top, height), left = pixels(drawn.left, width);
  const std::int64_t rows = std::min(pixels(drawn.height, height), height - top),
                     columns = std::min(pixels(drawn.width, width), width - left);
  for (std::int64_t c = 0; c < shape[0]; ++c) {
    for (std::int64_t y = top; y < top + rows; ++y) {
      std::fill_n(out + (c * height + y) * width + left, columns, 0.0f);
    }
  }
}

class ImageData final : public TrainingData {
 public:
  ImageData(const TrainSettings& settings, const NestedModel& model)
      : settings_(settings),
        images_(load_image_examples({.path = settings.data, .pixels = settings.pixels}, model)) {}

  std::string kind() const override { return "images"; }
  std::string fingerprint() const override { return images_.fingerprint; }

  TrainingBatch batch(std::int64_t step, std::int64_t micro_batch) const override {
    const InputSpec each = images_.input();
    const at::Tensor input = empty_inputs(each, settings_.batch);
    const at::Tensor target = at::empty({settings_.batch}, at::kLong);
    auto* in = input.mutable_data_ptr<float>();
    auto* out = target.mutable_data_ptr<std::int64_t>();
    for (const DrawnImage& drawn : draw_images(settings_, images_.count, step, micro_batch)) {
      const ExampleInputs image = inputs_of(images_, drawn.index, 1);
      place(image.pixels.data(), each.shape, drawn, in);
      erase(each.shape, drawn, in);
      images_.read_targets(drawn.index, 1, {out, 1});
      in += each.elements();
      ++out;
    }
    const double share = own_share(settings_, step, micro_batch);
    if (share == 1) return {input, target};
    return {input * share + input.flip(0) * (1 - share), target, target.flip(0), share};
  }

 private:
  const TrainSettings& settings_;
  ImageExamples images_;
};

}  // namespace

std::unique_ptr<TrainingData> training_data(const TrainSettings& settings,
                                            const NestedModel& model) {
  if (model.reads_tokens()) return std::make_unique<TokenData>(settings, model);
  return std::make_unique<ImageData>(settings, model);
}

}  // namespace mnm
