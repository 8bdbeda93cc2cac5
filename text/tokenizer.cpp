#include "text/tokenizer.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "text/byte_letters.h"
#include "text/byte_tokens.h"
#include "text/utf8.h"

namespace mnm {
namespace {

constexpr std::size_t kLongestWord = 64;  // bytes of a piece that is worth remembering

// Those found before normalizing, or those after it, which are normalized like the text.
std::vector<AddedToken> added_of(const TokenizerJson& json, bool first) {
  std::vector<AddedToken> out;
  for (std::size_t id = 0; id < json.tokens.size(); ++id) {
    const Token& token = json.tokens[id];
    if (token.kind < TokenKind::kAdded || token.first != first) continue;
    out.push_back({static_cast<std::int32_t>(id),
                   first ? token.text : normalized(token.text, json.normalizer), token.takes_left,
                   token.takes_right, token.alone});
  }
  return out;
}

// Whether no step makes a text shorter.
bool keeps_length(const TokenizerJson& json) {
  const auto keeps = [](const NormalizerStep& step) {
    using Kind = NormalizerStep::Kind;
    return step.kind == Kind::kPrepend ||
           (step.kind == Kind::kReplace && step.pattern->is_literal() &&
            step.pattern->expression().size() <= step.text.size());
  };
  const auto removes = [](const PreTokenizerStep& step) {
    return step.kind == PreTokenizerStep::Kind::kSplit && step.behavior == SplitBehavior::kRemoved;
  };
  return std::ranges::all_of(json.normalizer, keeps) &&
         std::ranges::none_of(json.pre_tokenizer.steps, removes);
}

}  // namespace

Tokenizer::Tokenizer(TokenizerJson json)
    : json_(std::move(json)),
      added_first_(added_of(json_, true)),
      added_(added_of(json_, false)),
      merges_(json_.merges.size()) {
  for (int byte = 0; byte < 256; ++byte) {
    const auto value = static_cast<unsigned char>(byte);
    bytes_[value] =
        model_id(json_.pre_tokenizer.byte_level ? byte_letter(value) : byte_token(value));
  }
  for (std::size_t id = 0; id < json_.tokens.size(); ++id) {
    const Token& token = json_.tokens[id];
    if (!token.in_model || token.text.empty()) continue;
    const CodePoint point = code_point_at(token.text, 0);
    if (point.valid && point.bytes == token.text.size()) {
      characters_[point.value] = static_cast<std::int32_t>(id);
    }
  }
  const auto id_of = [&](const std::string& text) {
    const std::int32_t id = model_id(text);
    if (id < 0) fail("its merges make '{}', which is no token", text);
    return id;
  };
  std::int32_t rank = 0;
  for (const auto& [left, right] : json_.merges) {
    const std::int32_t first = id_of(left), second = id_of(right);  // named in this order
    merges_.add(first, second, rank++, id_of(left + right));
  }
  longest_ = find_longest();
}

// The text of a merged token is its parts' texts joined. So a token stands for at most as many
// bytes as its text has. It may stand for fewer: `<0x41>` has six bytes and stands for one.
std::optional<std::size_t> Tokenizer::find_longest() const {
  const bool byte_level = json_.pre_tokenizer.byte_level;
  const bool spells_all =
      (byte_level || json_.byte_fallback) && std::ranges::count(bytes_, -1) == 0;
  if (!spells_all || !keeps_length(json_)) return std::nullopt;
  std::size_t longest = 0;
  for (const Token& token : json_.tokens) {
    if (token.kind == TokenKind::kUnused) continue;
    const bool added = token.kind >= TokenKind::kAdded;
    if (added && (token.takes_left || token.takes_right)) return std::nullopt;
    longest = std::max(
        longest, byte_level && !added ? bytes_of_letters(token.text).size() : token.text.size());
    if (added && !token.first) {
      longest = std::max(longest, normalized(token.text, json_.normalizer).size());
    }
  }
  return longest;
}

std::int32_t Tokenizer::model_id(const std::string& text) const {
  const auto found = json_.ids.find(text);
  if (found == json_.ids.end()) return -1;
  return json_.tokens[static_cast<std::size_t>(found->second)].in_model ? found->second : -1;
}

// How far an encoding is, roughly: a step of the normalizer may make a text longer. Most pieces are
// short, so the meter is not told of each.
class Tokenizer::Told {
 public:
  Told(const ProgressSink& sink, std::size_t bytes)
      : meter_(sink, 3 * static_cast<double>(bytes), kEveryStep), left_(3 * bytes) {}

  void add(std::size_t bytes) {
    bytes_ += bytes;
    if (bytes_ >= kAtOnce) ask();
  }
  void ask() {
    const std::size_t told = std::min(std::exchange(bytes_, std::size_t{0}), left_);
    left_ -= told;
    meter_.add(static_cast<double>(told));
  }

 private:
  static constexpr std::size_t kAtOnce = 4096;
  Meter meter_;
  std::size_t left_;       // of all bytes
  std::size_t bytes_ = 0;  // that it was not told of yet
};

std::vector<std::int64_t> Tokenizer::encode(std::string_view text, Template around,
                                            const ProgressSink& progress) const {
  if (!json_.is_of_bytes()) {
    const std::size_t valid = valid_utf8(text);
    if (valid != text.size()) {
      fail("the text is no UTF-8 at byte {}, and this vocabulary is one of characters", valid);
    }
  }
  Told told(progress, text.size());
  std::vector<std::int64_t> out;
  if (around == Template::kApply) out.assign(json_.before.begin(), json_.before.end());
  for (const TextPart& part : added_first_.parts_of(text)) {
    if (part.id >= 0) {
      out.push_back(part.id);
    } else {
      encode_between(part.text, part.text.data() == text.data(), told, out);
    }
  }
  if (around == Template::kApply) out.insert(out.end(), json_.after.begin(), json_.after.end());
  return out;
}

// `first`: the text begins here.
void Tokenizer::encode_between(std::string_view text, bool first, Told& told,
                               std::vector<std::int64_t>& out) const {
  const std::string clean = normalized(text, json_.normalizer);
  told.add(text.size());
  for (const TextPart& part : added_.parts_of(clean)) {
    if (part.id >= 0) {
      out.push_back(part.id);
    } else if (json_.is_of_bytes()) {
      for (const char c : part.text) {
        if (const std::int32_t id = bytes_[static_cast<unsigned char>(c)]; id >= 0) {
          out.push_back(id);
        }
      }
    } else {
      Pieces pieces(part.text);
      pieces.apply(json_.pre_tokenizer, first && part.text.data() == clean.data());
      told.add(part.text.size());
      encode_pieces(pieces, told, out);
    }
  }
}

// Words come again: what became of one is remembered.
void Tokenizer::encode_pieces(const Pieces& pieces, Told& told,
                              std::vector<std::int64_t>& out) const {
  std::unordered_map<std::string_view, std::pair<std::size_t, std::size_t>> known;  // in `out`
  for (const std::string_view piece : pieces.all()) {
    const std::size_t begin = out.size();
    if (piece.size() > kLongestWord) {
      encode_piece(piece, told, out);
    } else if (const auto found = known.find(piece); found != known.end()) {
      for (std::size_t i = found->second.first; i < found->second.second; ++i) {
        out.push_back(std::int64_t{out[i]});
      }
    } else {
      encode_piece(piece, told, out);
      known.emplace(piece, std::pair(begin, out.size()));
    }
    told.add(piece.size());
  }
}

void Tokenizer::encode_piece(std::string_view piece, Told& told,
                             std::vector<std::int64_t>& out) const {
  const bool byte_level = json_.pre_tokenizer.byte_level;
  if (json_.ignores_merges) {
    std::string letters(byte_level ? "" : piece);
    for (const char c : byte_level ? piece : "")
      letters += byte_letter(static_cast<unsigned char>(c));
    if (const std::int32_t id = model_id(letters); id >= 0) {
      out.push_back(id);
      return;
    }
  }
  merges_.apply(byte_level ? symbols_of_bytes(piece) : symbols_of_characters(piece), out,
                [&] { told.ask(); });
}

// What has no token waits to become the unknown one until something that has one comes.
class UnknownTokens {
 public:
  UnknownTokens(const TokenizerJson& json, std::vector<std::int32_t>& out)
      : json_(json), out_(out) {}

  void add() {
    if (!json_.unknown) return;
    if (waits_ && !json_.fuses_unknown) out_.push_back(*json_.unknown);
    waits_ = true;
  }
  void flush() {
    if (std::exchange(waits_, false)) out_.push_back(*json_.unknown);
  }

 private:
  const TokenizerJson& json_;
  std::vector<std::int32_t>& out_;
  bool waits_ = false;
};

std::vector<std::int32_t> Tokenizer::symbols_of_bytes(std::string_view piece) const {
  std::vector<std::int32_t> out;
  out.reserve(piece.size());
  UnknownTokens unknown(json_, out);
  for (const char c : piece) {
    const std::int32_t id = bytes_[static_cast<unsigned char>(c)];
    if (id < 0) {
      unknown.add();
      continue;
    }
    unknown.flush();
    out.push_back(id);
  }
  unknown.flush();
  return out;
}

std::vector<std::int32_t> Tokenizer::symbols_of_characters(std::string_view piece) const {
  std::vector<std::int32_t> out;
  out.reserve(piece.size());
  UnknownTokens unknown(json_, out);
  for (std::size_t at = 0; at < piece.size();) {
    const CodePoint point = code_point_at(piece, at);
    const std::string_view character = piece.substr(at, point.bytes);
    at += point.bytes;
    if (const auto found = characters_.find(point.value); found != characters_.end()) {
      unknown.flush();
      out.push_back(found->second);
      continue;
    }
    const auto id_of = [&](char c) { return bytes_[static_cast<unsigned char>(c)]; };
    const bool falls_back = json_.byte_fallback &&
                            std::ranges::all_of(character, [&](char c) { return id_of(c) >= 0; });
    if (!falls_back) {
      unknown.add();
      continue;
    }
    // As in the package these overtake the unknown that waits.
    for (const char c : character) out.push_back(id_of(c));
  }
  unknown.flush();
  return out;
}

}  // namespace mnm
