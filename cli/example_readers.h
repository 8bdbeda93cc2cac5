// What a checkpoint says about reading the data that its model is scored on: its tokenizer, and how
// pixels are normalised.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>

#include "dataset/examples.h"
#include "families/open_model.h"
#include "text/tokenizer.h"

namespace mnm {

// The tokenizer of `directory`. UsageError if there is none, and an Error if it is not read.
std::shared_ptr<const Tokenizer> tokenizer_of(const std::filesystem::path& directory,
                                              std::int64_t vocab_size);

// The result reads the tokenizer.json of `directory` when it is called for the first time.
std::function<TextTokens()> text_tokens(const std::filesystem::path& directory,
                                        std::int64_t vocab_size);

// The result reads preprocessor_config.json, or pretrained_cfg in the config.json, of `directory`.
std::function<std::optional<PixelScale>()> pixel_scale(const std::filesystem::path& directory);

// The result fingerprints the tokenizer of `directory`; "" if there is none that is read.
std::function<std::string()> tokenizer_vocabulary(const std::filesystem::path& directory,
                                                  std::int64_t vocab_size);

// On standard error, a line if the model's positions are resized to its images.
void note_resized_positions(const NestedModel& model);

// Sets the readers of `data` to those of the checkpoint. Each reads its file when it is called.
void read_as_model(ExampleOptions& data, const OpenedModel& opened);

}  // namespace mnm
