#include "dataset/tokens.h"

#include <algorithm>
#include <limits>
#include <string_view>

#include "base/error.h"
#include "base/progress.h"
#include "base/shell_word.h"
#include "dataset/image_examples.h"
#include "dataset/llm_c_shard.h"
#include "dataset/npy.h"
#include "dataset/overlap.h"
#include "dataset/text_format.h"
#include "model/cost.h"
#include "model/fingerprint.h"

namespace mnm {
namespace {

constexpr std::size_t kTogether = 1 << 16;  // tokens that are read at once

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Whether a file is taken as bytes although it is no text in UTF-8: text of another kind, bytes
// that are all tokens of a vocabulary that has not all of them, or too few to tell.
bool may_be_bytes(const Resemblance& like, std::string_view bytes, std::int64_t vocab_size) {
  if (like.kind != Resemblance::Kind::kUnknown) return false;
  if (is_documents(bytes)) return true;
  constexpr std::size_t kFew = 64;
  const auto below = [&](char byte) { return static_cast<unsigned char>(byte) < vocab_size; };
  return bytes.size() < kFew ||
         (vocab_size < 256 && std::ranges::all_of(bytes.substr(0, kFormatSample), below));
}

std::string or_else(const std::string& help, std::string_view other) {
  return help.empty() ? std::string(other) : fmt::format("{}; or {}", help, other);
}

}  // namespace

TokenFile::TokenFile(const std::filesystem::path& path, const TokenReading& reading) : file_(path) {
  const bool taken_at_word =
      reading.format == TokenFormat::kBytes || reading.format == TokenFormat::kText;
  if (!taken_at_word && read_header()) {
    const std::string_view wanted = kTokenFormats[3];
    if (reading.format == TokenFormat::kLlmC && !format_.starts_with(wanted)) {
      fail("cannot read {} as {} tokens: it is {}", path.string(), wanted, format_);
    }
    return;
  }
  read_without_header(reading);
}

bool TokenFile::read_header() {
  const std::span<const std::byte> bytes = file_.bytes();
  const std::string name = path().string();
  std::uint64_t width = 1;
  if (text_of(bytes).starts_with(kNpyMagic)) {
    read_npy();
  } else if (is_shard(bytes)) {
    read_shard();
  } else {
    return false;
  }
  switch (kind_) {
    case Kind::kU8:
      break;
    case Kind::kU16:
      width = 2;
      break;
    case Kind::kI32:
    case Kind::kU32:
      width = 4;
      break;
    case Kind::kI64:
      width = 8;
  }
  const std::uint64_t room = bytes.size() - offset_;
  if (size_ > room / width || size_ * width != room) {
    fail(
        "cannot read tokens from {}: its {} header says {} tokens of {} bytes, but {} bytes follow",
        name, format_, size_, width, room);
  }
  return true;
}

void TokenFile::read_npy() {
  const std::string name = path().string();
  const NpyHeader npy = read_npy_header(file_.bytes(), name, "tokens");
  if (npy.shape.size() != 1) {
    fail("cannot read tokens from {}: the array has {} dimensions, expected one", name,
         npy.shape.size());
  }
  struct Element {
    std::string_view descr;
    Kind kind;
    std::string_view format;
  };
  static constexpr Element kElements[] = {
      {"|u1", Kind::kU8, "npy uint8"},   {"<u1", Kind::kU8, "npy uint8"},
      {"<u2", Kind::kU16, "npy uint16"}, {"<i4", Kind::kI32, "npy int32"},
      {"<u4", Kind::kU32, "npy uint32"}, {"<i8", Kind::kI64, "npy int64"}};
  const auto* element = std::ranges::find(kElements, npy.descr, &Element::descr);
  if (element == std::end(kElements)) {
    fail(
        "cannot read tokens from {}: its elements are '{}', expected little-endian uint8, "
        "uint16, int32, uint32 or int64: save the array with .astype('<i4')",
        name, npy.descr);
  }
  kind_ = element->kind;
  format_ = element->format;
  offset_ = npy.offset;
  size_ = npy.shape.front();
}

void TokenFile::read_shard() {
  const ShardHeader shard = read_shard_header(file_.bytes(), path().string());
  kind_ = shard.narrow ? Kind::kU16 : Kind::kU32;
  format_ = shard.narrow ? "llm.c uint16" : "llm.c uint32";
  offset_ = kShardHeader;
  size_ = shard.length;
}

void TokenFile::take_numbers(Kind kind, std::string_view format) {
  const std::uint64_t width = kind == Kind::kU8 ? 1 : kind == Kind::kU16 ? 2 : 4;
  if (file_.bytes().size() % width != 0) {
    fail("cannot read {} as {} tokens: its {} bytes are no multiple of {}", path().string(), format,
         file_.bytes().size(), width);
  }
  kind_ = kind;
  format_ = format;
  size_ = file_.bytes().size() / width;
}

void TokenFile::read_without_header(const TokenReading& reading) {
  const std::string name = path().string();
  switch (reading.format) {
    case TokenFormat::kBytes:
      return take_numbers(Kind::kU8, "bytes");
    case TokenFormat::kU16:
      return take_numbers(Kind::kU16, "u16");
    case TokenFormat::kU32:
      return take_numbers(Kind::kU32, "u32");
    case TokenFormat::kLlmC:
      fail("cannot read {} as llm.c tokens: it does not begin as a shard", name);
    case TokenFormat::kText:
      return read_text(reading.text ? reading.text() : TextTokens{});
    case TokenFormat::kRecognised:
      break;
  }
  read_as_recognised(resemblance_of(file_.bytes(), path(), reading.vocab_size), reading);
}

void TokenFile::read_as_recognised(const Resemblance& like, const TokenReading& reading) {
  using Like = Resemblance::Kind;
  const bool asked = reading.text && like.kind != Like::kForeign && like.kind != Like::kNumbers;
  const TextTokens text = asked ? reading.text() : TextTokens{};
  const bool plain = like.kind == Like::kText && like.help.empty();
  const bool of_bytes = text.bytes || reading.vocab_size <= 256;
  const std::string name = path().string();
  if (path().extension() == ".npy" && like.kind != Like::kForeign) {
    fail("cannot read tokens from {}: it is named .npy but does not begin as one{}", name,
         like.kind == Like::kNumbers ? fmt::format(", and may be {}; {}", like.what, like.help)
                                     : "");
  }
  if (plain && text.encode && !text.bytes) return read_text(text);
  if (of_bytes && (plain || may_be_bytes(like, text_of(file_.bytes()), reading.vocab_size))) {
    return take_numbers(Kind::kU8, "bytes");
  }
  std::string help = like.help;
  if (plain) {
    help = fmt::format(
        "the checkpoint's tokenizer is not read ({}): tokenize it where it is, and save the ids "
        "with numpy.save",
        text.why_not.empty() ? "there is none" : text.why_not);
  } else if (of_bytes && !(like.kind == Like::kText && text.encode)) {
    help = or_else(help, "take its bytes as tokens with --token-format bytes");
  } else if (like.kind == Like::kText && text.encode) {
    help = or_else(help, "take it as text with --token-format text");
  }
  fail("cannot read tokens from {}: it has no header that says what they are, and {}{}", name,
       like.what.empty()
           ? "looks like nothing that is known"
           : fmt::format("{} {}", like.kind == Like::kNumbers ? "may be" : "looks like", like.what),
       help.empty() ? "; say what it is with --token-format" : fmt::format("; {}", help));
}

void TokenFile::read_text(const TextTokens& text) {
  if (text.bytes) return take_numbers(Kind::kU8, "bytes");
  if (!text.encode) {
    fail("cannot read {} as text: the checkpoint's tokenizer is not read ({})", path().string(),
         text.why_not.empty() ? "there is none" : text.why_not);
  }
  if (file_.bytes().size() > kMostText) {
    fail(
        "cannot read {} as text: it has {} bytes, and at most {} are tokenized where they are "
        "read; make a token file of it once: mixnmatch tokenize {} --model CHECKPOINT --train FILE",
        path().string(), file_.bytes().size(), kMostText, shell_quoted(path().string()));
  }
  std::string content(file_.bytes().size(), '\0');
  file_.read(0, std::as_writable_bytes(std::span(content)));
  try {
    const std::vector<std::int64_t> tokens = text.encode(content);
    text_.assign(tokens.begin(), tokens.end());
  } catch (const Stopped&) {
    throw;
  } catch (const Error& error) {
    fail("cannot read {} as text: {}", path().string(), error.what());
  }
  kind_ = Kind::kI32;
  format_ = "text";
  size_ = text_.size();
}

std::string_view TokenFile::format() const { return format_; }

void TokenFile::read(std::uint64_t begin, std::span<std::int64_t> out,
                     std::int64_t vocab_size) const {
  if (begin > size_ || out.size() > size_ - begin) {
    fail("cannot read tokens {} to {} of {}: it has {}", begin, begin + out.size(), path().string(),
         size_);
  }
  const auto take = [&](std::size_t i, std::int64_t token) {
    out[i] = token;
    if (token >= 0 && token < vocab_size) return;
    fail("cannot use {} as tokens: token {} at position {} is outside the vocabulary of {}",
         path().string(), token, begin + i, vocab_size);
  };
  if (!text_.empty()) {
    for (std::size_t i = 0; i < out.size(); ++i) take(i, text_[begin + i]);
    return;
  }
  const auto copy = [&]<typename T>(T) {
    std::vector<T> block;
    for (std::size_t at = 0; at < out.size(); at += block.size()) {
      block.resize(std::min(out.size() - at, kTogether));
      file_.read(offset_ + (begin + at) * sizeof(T), std::as_writable_bytes(std::span(block)));
      for (std::size_t i = 0; i < block.size(); ++i) {
        take(at + i, static_cast<std::int64_t>(block[i]));
      }
    }
  };
  switch (kind_) {
    case Kind::kU8:
      return copy(std::uint8_t{});
    case Kind::kU16:
      return copy(std::uint16_t{});
    case Kind::kI32:
      return copy(std::int32_t{});
    case Kind::kU32:
      return copy(std::uint32_t{});
    case Kind::kI64:
      return copy(std::int64_t{});
  }
}

std::string TokenFile::fingerprint() const {
  Fingerprint fingerprint;
  fingerprint.add(format_);
  if (!text_.empty()) {
    fingerprint.add(std::as_bytes(std::span(text_)));
    return fingerprint.hex();
  }
  std::vector<std::byte> block;
  for (std::uint64_t at = offset_; at < file_.bytes().size(); at += block.size()) {
    block.resize(std::min<std::uint64_t>(file_.bytes().size() - at, kTogether));
    file_.read(at, block);
    fingerprint.add(std::span<const std::byte>(block));
  }
  return fingerprint.hex();
}

std::uint64_t TokenExamples::size() const {
  return file ? static_cast<std::uint64_t>(count) * static_cast<std::uint64_t>(context) + 1
              : tokens.size();
}

void TokenExamples::read(std::uint64_t begin, std::span<std::int64_t> out) const {
  if (file) return file->read(begin, out, vocab_size);
  std::ranges::copy(std::span(tokens).subspan(begin, out.size()), out.begin());
}

void TokenExamples::read_inputs(std::int64_t begin, std::int64_t n,
                                std::span<std::byte> out) const {
  std::vector<std::int64_t> inputs(static_cast<std::size_t>(n * context));
  read(static_cast<std::uint64_t>(begin * context), inputs);
  std::ranges::copy(std::as_bytes(std::span(inputs)), out.begin());
}

void TokenExamples::read_targets(std::int64_t begin, std::int64_t n,
                                 std::span<std::int64_t> out) const {
  read(static_cast<std::uint64_t>(begin * context) + 1,
       out.first(static_cast<std::size_t>(n * context)));
}

std::int64_t TokenExamples::shared_with(const Examples& other) const {
  const auto* const same = dynamic_cast<const TokenExamples*>(&other);
  return same ? shared_sequences(*this, *same) : 0;
}

TokenExamples load_token_examples(const ExampleOptions& options, std::int64_t vocab_size,
                                  std::int64_t max_context) {
  if (options.context < 0 || options.max_tokens < 0) {
    fail_usage("context and number of tokens must not be negative, got {} and {}", options.context,
               options.max_tokens);
  }
  if (is_image_set(options.path)) {
    fail("cannot read tokens from {}: it is a set of images, and the model reads tokens",
         options.path.string());
  }
  TokenExamples data;
  data.context = options.context > 0
                     ? options.context
                     : std::min(kDefaultContext, std::max<std::int64_t>(max_context, 1));
  if (data.context > max_context) {
    fail_usage("a context of {} is longer than the model's {} positions", data.context,
               max_context);
  }
  const auto shared = std::make_shared<const TokenFile>(
      options.path, TokenReading{options.format, vocab_size, options.text});
  const TokenFile& file = *shared;
  const auto context = static_cast<std::uint64_t>(data.context);
  // The last token of a file has no successor, so it is no input.
  std::uint64_t sequences = file.size() == 0 ? 0 : (file.size() - 1) / context;
  if (options.max_tokens > 0) {
    sequences = std::min(sequences, static_cast<std::uint64_t>(options.max_tokens) / context);
  }
  if (sequences == 0) {
    fail_usage(
        "{} holds {} tokens{}: not one sequence of {} tokens and their successors, use a smaller "
        "context or more tokens",
        options.path.string(), file.size(),
        options.max_tokens > 0
            ? fmt::format(", of which at most {} may be used", options.max_tokens)
            : "",
        data.context);
  }
  data.name = options.path.filename().string();
  data.count = static_cast<std::int64_t>(sequences);
  data.file = shared;
  data.vocab_size = std::min<std::int64_t>(vocab_size, std::numeric_limits<std::int32_t>::max());

  Fingerprint fingerprint;
  fingerprint.add(fmt::format("context {}", data.context));
  std::vector<std::int64_t> block;
  for (std::uint64_t at = 0; at < data.size(); at += block.size()) {
    block.resize(std::min<std::uint64_t>(data.size() - at, kTogether));
    data.read(at, block);
    const std::vector<std::int32_t> narrow(block.begin(), block.end());
    fingerprint.add(std::as_bytes(std::span(narrow)));
  }
  if (!options.positions.all()) {
    for (std::int64_t s = 0; s < data.count; ++s) {
      const std::vector<std::int32_t> drawn = draw_positions(options.positions, data.context, s);
      data.scored.insert(data.scored.end(), drawn.begin(), drawn.end());
    }
    data.name += fmt::format(", {} of positions", options.positions.text());
    fingerprint.add(std::as_bytes(std::span(data.scored)));
  }
  data.fingerprint = fingerprint.hex();
  return data;
}

}  // namespace mnm
