#include "cli/example_readers.h"

#include <memory>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "cli/print.h"
#include "families/image_patches.h"
#include "image/preprocessor_config.h"
#include "text/byte_letters.h"
#include "text/tokenizer.h"

namespace mnm {
namespace {

bool is_of_bytes(const TokenizerJson& tokenizer) {
  if (!tokenizer.is_of_bytes() || !tokenizer.before.empty() || !tokenizer.after.empty()) {
    return false;
  }
  for (int byte = 0; byte < 256; ++byte) {
    const auto found = tokenizer.ids.find(byte_letter(static_cast<unsigned char>(byte)));
    if (found == tokenizer.ids.end() || found->second != byte) return false;
  }
  return true;
}

}  // namespace

std::shared_ptr<const Tokenizer> tokenizer_of(const std::filesystem::path& directory,
                                              std::int64_t vocab_size) {
  try {
    std::optional<TokenizerJson> found = find_tokenizer(directory, vocab_size);
    if (!found) fail_usage("there is no tokenizer.json in {}", directory.string());
    return std::make_shared<const Tokenizer>(std::move(*found));
  } catch (const UsageError&) {
    throw;
  } catch (const Error& error) {
    fail("cannot tokenize with the tokenizer of {}: {}", directory.string(), error.what());
  }
}

std::function<TextTokens()> text_tokens(const std::filesystem::path& directory,
                                        std::int64_t vocab_size) {
  return [=]() -> TextTokens {
    try {
      std::optional<TokenizerJson> found = find_tokenizer(directory, vocab_size);
      if (!found) return {false, {}, "there is none"};
      const bool bytes = is_of_bytes(*found);
      const auto tokenizer = std::make_shared<const Tokenizer>(std::move(*found));
      const ProgressSink until_interrupted = [](const Progress&) {
        return !InterruptGuard::interrupted();
      };
      const auto encode = [=](std::string_view text) {
        return tokenizer->encode(text, Template::kApply, until_interrupted);
      };
      return {bytes, encode, ""};
    } catch (const Error& error) {
      return {false, {}, error.what()};
    }
  };
}

std::function<std::optional<PixelScale>()> pixel_scale(const std::filesystem::path& directory) {
  return [directory]() -> std::optional<PixelScale> {
    const std::optional<Preprocessing> found = read_preprocessing(directory);
    return found ? std::optional(found->pixels) : std::nullopt;
  };
}

std::function<std::string()> tokenizer_vocabulary(const std::filesystem::path& directory,
                                                  std::int64_t vocab_size) {
  return [=]() -> std::string {
    try {
      const std::optional<TokenizerJson> found = find_tokenizer(directory, vocab_size);
      return found ? vocabulary_fingerprint(*found) : "";
    } catch (const Error&) {  // a tokenizer that is not read here made no task either
      return "";
    }
  };
}

void note_resized_positions(const NestedModel& model) {
  const std::string text = resized_positions_text(model);
  if (!text.empty()) note("{}, as transformers does it\n", text);
}

void read_as_model(ExampleOptions& data, const OpenedModel& opened) {
  const std::filesystem::path directory = opened.checkpoint.directory();
  data.text = text_tokens(directory, opened.model.vocab_size);
  data.vocabulary = tokenizer_vocabulary(directory, opened.model.vocab_size);
  data.pixels = pixel_scale(directory);
}

}  // namespace mnm
