#include "text/tokenizer.h"

#include <algorithm>
#include <queue>
#include <utility>

#include "model/error.h"
#include "text/byte_letters.h"
#include "text/utf8.h"

namespace mnm {
namespace {

std::uint64_t key_of(std::int32_t left, std::int32_t right) {
  return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint32_t>(right);
}

unsigned char first_byte(std::string_view text) { return static_cast<unsigned char>(text.front()); }

}  // namespace

Tokenizer::Tokenizer(TokenizerJson json) : json_(std::move(json)) {
  const auto id_of = [&](const std::string& text) {
    const auto found = json_.ids.find(text);
    if (found == json_.ids.end()) fail("its merges make '{}', which is no token", text);
    return found->second;
  };
  for (int byte = 0; byte < 256; ++byte) {
    const auto found = json_.ids.find(byte_letter(static_cast<unsigned char>(byte)));
    if (found == json_.ids.end()) fail("it has no token for the byte {}", byte);
    bytes_[static_cast<std::size_t>(byte)] = found->second;
  }
  if (!json_.decodes_letters) fail("its decoder is not ByteLevel");
  std::int32_t rank = 0;
  for (const auto& [left, right] : json_.merges) {
    const std::int32_t first = id_of(left), second = id_of(right);  // named in this order
    merges_[key_of(first, second)] = {rank++, id_of(left + right)};
  }
  for (std::size_t id = 0; id < json_.tokens.size(); ++id) {
    const Token& token = json_.tokens[id];
    if (token.kind < TokenKind::kAdded || token.text.empty()) continue;
    added_[token.first ? 1 : 0][first_byte(token.text)].push_back(static_cast<std::int32_t>(id));
  }
  for (auto& pass : added_) {
    for (std::vector<std::int32_t>& ids : pass) {
      std::ranges::stable_sort(ids, std::ranges::greater(), [&](std::int32_t id) {
        return json_.tokens[static_cast<std::size_t>(id)].text.size();
      });
    }
  }
}

std::vector<std::int64_t> Tokenizer::encode(std::string_view text) const {
  if (!json_.merges.empty() || json_.ignores_merges) {
    const std::size_t valid = valid_utf8(text);
    if (valid != text.size()) {
      fail("the text is no UTF-8 at byte {}, and this vocabulary is one of characters", valid);
    }
  }
  std::vector<std::int64_t> out(json_.before.begin(), json_.before.end());
  find_added(text, true, out);
  out.insert(out.end(), json_.after.begin(), json_.after.end());
  return out;
}

// Leftmost, and of those the longest; what lies between is looked through once more for the others.
void Tokenizer::find_added(std::string_view text, bool first,
                           std::vector<std::int64_t>& out) const {
  const auto& by_byte = added_[first ? 1 : 0];
  const auto between = [&](std::string_view part) {
    if (part.empty()) return;
    first ? find_added(part, false, out) : encode_between(part, out);
  };
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t length = 0;
    for (const std::int32_t id : by_byte[first_byte(text.substr(at))]) {
      const std::string& token = json_.tokens[static_cast<std::size_t>(id)].text;
      if (!text.substr(at).starts_with(token)) continue;
      between(text.substr(begin, at - begin));
      out.push_back(id);
      length = token.size();
      break;
    }
    at += std::max<std::size_t>(length, 1);
    if (length > 0) begin = at;
  }
  between(text.substr(begin));
}

void Tokenizer::encode_between(std::string_view text, std::vector<std::int64_t>& out) const {
  if (merges_.empty() && !json_.ignores_merges) {
    for (const char c : text) out.push_back(bytes_[static_cast<unsigned char>(c)]);
    return;
  }
  for (const std::string_view piece : split_text(json_.split, text)) {
    if (json_.ignores_merges) {
      std::string letters;
      for (const char c : piece) letters += byte_letter(static_cast<unsigned char>(c));
      if (const auto found = json_.ids.find(letters); found != json_.ids.end()) {
        out.push_back(found->second);
        continue;
      }
    }
    merge_piece(piece, out);
  }
}

// The merge of the lowest rank first, of several the leftmost, until none is left.
void Tokenizer::merge_piece(std::string_view piece, std::vector<std::int64_t>& out) const {
  struct Symbol {
    std::int32_t id;              // -1: swallowed by the one before
    std::int64_t previous, next;  // -1: none
  };
  struct Candidate {
    std::int32_t rank, id;  // of the merge, and what it makes
    std::int64_t at;        // its left symbol
    bool operator>(const Candidate& other) const {
      return std::pair(rank, at) > std::pair(other.rank, other.at);
    }
  };
  const auto size = static_cast<std::int64_t>(piece.size());
  std::vector<Symbol> symbols;
  for (std::int64_t i = 0; i < size; ++i) {
    symbols.push_back({bytes_[static_cast<unsigned char>(piece[static_cast<std::size_t>(i)])],
                       i - 1, i + 1 < size ? i + 1 : -1});
  }
  const auto symbol = [&](std::int64_t i) -> Symbol& {
    return symbols[static_cast<std::size_t>(i)];
  };
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto merge_at = [&](std::int64_t left) -> const Merge* {
    if (left < 0 || symbol(left).id < 0 || symbol(left).next < 0) return nullptr;
    const auto found = merges_.find(key_of(symbol(left).id, symbol(symbol(left).next).id));
    return found == merges_.end() ? nullptr : &found->second;
  };
  const auto consider = [&](std::int64_t left) {
    if (const Merge* merge = merge_at(left)) queue.push({merge->rank, merge->id, left});
  };
  for (std::int64_t i = 0; i + 1 < size; ++i) consider(i);
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    // Its symbols may have changed since; what they make now must be what it stands for.
    const Merge* merge = merge_at(top.at);
    if (merge == nullptr || merge->id != top.id) continue;
    Symbol& left = symbol(top.at);
    Symbol& right = symbol(left.next);
    left.id = top.id;
    right.id = -1;
    left.next = right.next;
    if (left.next >= 0) symbol(left.next).previous = top.at;
    consider(left.previous);
    consider(top.at);
  }
  for (const Symbol& s : symbols) {
    if (s.id >= 0) out.push_back(s.id);
  }
}

std::string Tokenizer::bytes_of(std::int64_t id) const {
  const Token& token = json_.tokens.at(static_cast<std::size_t>(id));
  if (token.kind == TokenKind::kUnused || token.kind == TokenKind::kSpecial) return "";
  return bytes_of_letters(token.text);
}

}  // namespace mnm
