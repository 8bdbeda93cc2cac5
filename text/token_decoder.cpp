#include "text/token_decoder.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/byte_letters.h"
#include "text/byte_tokens.h"
#include "text/json_members.h"
#include "text/tokenizer_json.h"

namespace mnm {
namespace {

using Json = nlohmann::json;

// In the order in which they may stand.
enum class Stage { kTokens, kBytes, kFused, kStripped };

void parse_step(const Json& json, Stage& stage, DecoderSteps& out) {
  const std::string type = text_of(json, "type");
  const auto go_on = [&](Stage least, Stage next) {
    if (stage > least) fail("its decoder has '{}' where it is not read here", type);
    stage = next;
  };
  if (type == "Replace") {
    go_on(Stage::kTokens, Stage::kTokens);
    out.replaced.emplace_back(pattern_of(json), text_of(json, "content"));
    require_short(out.replaced.back().second, "decoder");
  } else if (type == "Metaspace") {
    go_on(Stage::kTokens, Stage::kBytes);
    out.metaspace = text_of(json, "replacement");
    const std::string scheme = text_of(json, "prepend_scheme");
    out.drops_first =
        scheme.empty() ? !(member(json, "add_prefix_space") == Json(false)) : scheme != "never";
    if (out.metaspace.empty()) fail("its decoder's Metaspace has no replacement");
  } else if (type == "ByteFallback") {
    go_on(Stage::kBytes, Stage::kBytes);
    out.byte_fallback = true;
  } else if (type == "Fuse") {
    go_on(Stage::kBytes, Stage::kFused);
  } else if (type == "Strip") {
    if (stage != Stage::kFused || is_set(json, "stop")) {
      fail("its decoder has a 'Strip' that is not read here");
    }
    stage = Stage::kStripped;
    out.stripped = text_of(json, "content");
    const Json& start = member(json, "start");
    out.most_stripped = start.is_number_unsigned() ? start.get<std::uint64_t>() : 0;
  } else {
    fail("its decoder is '{}', which is not read here", type);
  }
}

}  // namespace

DecoderSteps parse_decoder(const Json& decoder) {
  DecoderSteps out;
  const std::vector<const Json*> steps = steps_of(decoder, "decoders");
  if (steps.empty()) fail("it has no decoder");
  if (steps.size() == 1 && text_of(*steps.front(), "type") == "ByteLevel") {
    out.byte_level = true;
    return out;
  }
  Stage stage = Stage::kTokens;
  for (const Json* step : steps) parse_step(*step, stage, out);
  return out;
}

std::string TokenDecoder::feed(std::int64_t id) {
  const Token& token = json_.tokens.at(static_cast<std::size_t>(id));
  if (token.kind == TokenKind::kUnused) return "";
  const DecoderSteps& decoder = json_.decoder;
  std::string text = token.text;
  if (token.kind != TokenKind::kNormal) {
    // A token that is found in normalized text is given back as that, and it is the text that is
    // given back which makes it special or not: as in the tokenizers package.
    if (!token.first) text = normalized(text, json_.normalizer);
    const auto same = json_.ids.find(text);
    if (same != json_.ids.end() &&
        json_.tokens[static_cast<std::size_t>(same->second)].kind == TokenKind::kSpecial) {
      return "";
    }
  }
  if (decoder.byte_level) return letters_.feed(bytes_of_letters(text));
  for (const auto& [pattern, by] : decoder.replaced) {
    text = replaced(text, pattern, by);
    require_growth(token.text, text, "decoder");
  }
  if (!decoder.metaspace.empty()) {
    const bool drops = first_ && decoder.drops_first;
    text = replaced(text, Pattern::literal(decoder.metaspace), drops ? "" : " ");
  }
  first_ = false;
  if (decoder.byte_fallback) {
    if (const std::optional<unsigned char> byte = byte_of_token(text)) {
      bytes_ += static_cast<char>(*byte);
      return "";
    }
  }
  std::string out = flushed_bytes();
  return without_start(std::move(out += text));
}

std::string TokenDecoder::finish() {
  if (json_.decoder.byte_level) return letters_.finish();
  return without_start(flushed_bytes());
}

// A run of bytes that is no text is one replacement character for each.
std::string TokenDecoder::flushed_bytes() {
  std::string out = std::exchange(bytes_, "");
  if (valid_utf8(out) == out.size()) return out;
  std::string replacement;
  for (std::size_t i = 0; i < out.size(); ++i) replacement += "\xef\xbf\xbd";
  return replacement;
}

std::string TokenDecoder::without_start(std::string text) {
  const std::string& character = json_.decoder.stripped;
  std::size_t begin = 0;
  while (!started_ && begin < text.size()) {
    if (stripped_ < json_.decoder.most_stripped && !character.empty() &&
        std::string_view(text).substr(begin).starts_with(character)) {
      begin += character.size();
      ++stripped_;
    } else {
      started_ = true;
    }
  }
  return text.erase(0, begin);
}

}  // namespace mnm
