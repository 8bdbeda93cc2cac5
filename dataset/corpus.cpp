#include "dataset/corpus.h"

#include <fnmatch.h>

#include <algorithm>
#include <bit>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/directory.h"
#include "base/error.h"
#include "base/file.h"
#include "dataset/llm_c_shard.h"
#include "model/fingerprint.h"

namespace mnm {
namespace {

static_assert(std::endian::native == std::endian::little);

std::string hash_of(std::uint64_t seed, const std::string& name) {
  Fingerprint fingerprint;
  fingerprint.add(std::to_string(seed));
  fingerprint.add(name);
  return fingerprint.hex();
}

std::string content_of(const CorpusFile& file) {
  const MappedFile mapped(file.path);
  std::string text(mapped.bytes().size(), '\0');
  mapped.read(0, std::as_writable_bytes(std::span(text)));
  return text;
}

std::string fingerprint_of(const std::string& text) {
  Fingerprint fingerprint;
  fingerprint.add(std::as_bytes(std::span(text)));
  return fingerprint.hex();
}

// A file that counts. It is read twice: to see whether it counts, and for its tokens.
struct Document {
  const CorpusFile* file = nullptr;
  std::string fingerprint;

  std::string text() const {
    std::string content = content_of(*file);
    if (fingerprint_of(content) != fingerprint) {
      fail("cannot use {}: it was written while the corpus was read; try again when nothing does",
           file->path.string());
    }
    return content;
  }
};

// At most `length` bytes of `text`, starting at the line after a place that `hash` picks.
std::string excerpt_of(const std::string& text, std::int64_t length, const std::string& hash) {
  const auto most = static_cast<std::size_t>(length);
  if (length == 0 || text.size() <= most) return text;
  const std::size_t room = text.size() - most;
  std::size_t begin = std::stoull(hash.substr(0, 15), nullptr, 16) % (room + 1);
  const std::size_t line = text.find('\n', begin);
  if (begin > 0 && line != std::string::npos && line < room) begin = line + 1;
  return text.substr(begin, most);
}

// An excerpt may begin and end within a character of several bytes, which is left out.
std::string whole_characters(const std::string& text) {
  const auto continues = [](char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; };
  std::size_t begin = 0, last = text.size();
  while (begin < text.size() && begin < 3 && continues(text[begin])) ++begin;
  while (last > begin && text.size() - last < 3 && continues(text[last - 1])) --last;
  if (last > begin) --last;  // at the first byte of the last character
  const auto first = static_cast<unsigned char>(text.empty() ? 0 : text[last]);
  const std::size_t length = first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  return text.substr(begin, (last + length <= text.size() ? text.size() : last) - begin);
}

// Those that count, by the hash of seed and name.
std::map<std::string, Document> documents_by_hash(std::span<const CorpusFile> files,
                                                  std::uint64_t seed,
                                                  std::vector<std::string>& skipped) {
  std::map<std::string, Document> by_hash;
  std::set<std::string> seen;
  for (const CorpusFile& file : files) {
    const std::string text = content_of(file);
    Document document{&file, fingerprint_of(text)};
    const bool zero = text.find('\0') != std::string::npos;
    if (text.empty() || zero || !seen.insert(document.fingerprint).second) {
      skipped.push_back(file.name);
    } else {
      by_hash.emplace(hash_of(seed, file.name), std::move(document));
    }
  }
  if (by_hash.empty()) {
    fail("the corpus has no usable file: each of {} is empty, has a zero byte or is a copy",
         files.size());
  }
  return by_hash;
}

// Whether the document is a part now. False if it is not UTF-8.
bool append_document(CorpusPart& part, const CorpusFile& file, const std::string& text,
                     const DocumentTokens& documents) {
  std::optional<std::string> tokens;
  try {
    tokens = documents.encode(text);
  } catch (const Error& error) {
    fail("cannot tokenize {}: {}", file.path.string(), error.what());
  }
  if (!tokens) return false;
  part.tokens += *tokens;
  part.names.push_back(file.name);
  return true;
}

// The regular files below a directory, without those below links.
void list_below(const std::filesystem::path& root, const std::string& glob,
                std::vector<CorpusFile>& files) {
  std::vector<std::filesystem::path> folders = {root};
  while (!folders.empty()) {
    const std::filesystem::path folder = std::move(folders.back());
    folders.pop_back();
    for (const std::filesystem::directory_entry& entry : list_directory(folder)) {
      const std::filesystem::path& path = entry.path();
      const std::filesystem::file_status status = entry.symlink_status();
      if (std::filesystem::is_directory(status)) folders.push_back(path);
      if (!std::filesystem::is_regular_file(status)) continue;
      if (fnmatch(glob.c_str(), path.filename().c_str(), 0) != 0) continue;
      files.push_back({path, path.lexically_relative(root).generic_string()});
    }
  }
}

}  // namespace

DocumentTokens byte_documents() {
  return {1, [](const std::string& text) { return text + '\0'; }};
}

DocumentTokens documents_of(
    std::function<std::optional<std::vector<std::int64_t>>(const std::string&)> encode,
    std::int64_t end, std::int64_t vocab_size) {
  if (end >= vocab_size) {
    fail("token {} cannot end texts: the vocabulary has {} tokens; correct eos_token_id", end,
         vocab_size);
  }
  const std::size_t width = vocab_size <= 0x10000 ? 2 : 4;
  const auto document =
      [=, encode = std::move(encode)](const std::string& text) -> std::optional<std::string> {
    auto ids = encode(text);
    if (!ids) return std::nullopt;
    if (end >= 0) ids->push_back(end);
    std::string tokens;
    tokens.reserve(ids->size() * width);
    for (const std::int64_t id : *ids) {
      if (id < 0 || id >= vocab_size) {
        fail("token {} is outside the vocabulary of {}", id, vocab_size);
      }
      tokens.append(reinterpret_cast<const char*>(&id), width);
    }
    return tokens;
  };
  return {width, document, true};
}

std::vector<CorpusFile> list_corpus(std::span<const std::filesystem::path> inputs,
                                    const std::string& glob) {
  namespace fs = std::filesystem;
  std::vector<CorpusFile> files;
  for (const fs::path& input : inputs) {
    const fs::file_status status = fs::status(input);
    if (fs::is_directory(status)) {
      list_below(input, glob, files);
    } else if (fs::is_regular_file(status)) {
      files.push_back({input, input.filename().string()});
    } else {
      fail("cannot read the corpus {}: it is neither a directory nor a regular file",
           input.string());
    }
  }
  if (files.empty()) fail("the corpus has no file that matches '{}'; see --glob", glob);
  std::sort(files.begin(), files.end(),
            [](const CorpusFile& a, const CorpusFile& b) { return a.name < b.name; });
  for (std::size_t i = 1; i < files.size(); ++i) {
    if (files[i].name == files[i - 1].name) {
      fail("the corpus names '{}' twice, as {} and as {}: give a directory that holds both",
           files[i].name, files[i - 1].path.string(), files[i].path.string());
    }
  }
  return files;
}

SplitCorpus split_corpus(std::span<const CorpusFile> files, std::span<const HeldOut> held_out,
                         std::uint64_t seed, const DocumentTokens& documents) {
  SplitCorpus split;
  const std::map<std::string, Document> by_hash = documents_by_hash(files, seed, split.skipped);
  std::size_t usable = by_hash.size();
  auto next = by_hash.begin();
  for (const HeldOut& request : held_out) {
    CorpusPart& part = split.held_out.emplace_back();
    const std::size_t wanted = (static_cast<std::size_t>(request.tokens) + 1) * documents.width;
    for (; part.tokens.size() < wanted; ++next) {
      if (next == by_hash.end()) {
        fail("the corpus is too small: its {} usable files give no {} held-out tokens{}", usable,
             request.tokens,
             request.excerpt > 0 ? fmt::format(" of at most {} from each", request.excerpt) : "");
      }
      const CorpusFile& file = *next->second.file;
      const std::string whole = next->second.text();
      std::string text = excerpt_of(whole, request.excerpt, next->first);
      if (documents.of_characters && text.size() < whole.size()) text = whole_characters(text);
      if (!append_document(part, file, text, documents)) {
        split.skipped.push_back(file.name);
        --usable;
      }
    }
    part.tokens.resize(wanted);
  }
  if (next == by_hash.end())
    fail("the held-out parts took every file: nothing is left to train on");

  std::vector<const Document*> rest;
  for (; next != by_hash.end(); ++next) rest.push_back(&next->second);
  std::sort(rest.begin(), rest.end(),
            [](const Document* a, const Document* b) { return a->file->name < b->file->name; });
  for (const Document* document : rest) {
    if (!append_document(split.train, *document->file, document->text(), documents)) {
      split.skipped.push_back(document->file->name);
    }
  }
  if (split.train.tokens.empty()) {
    fail(
        "nothing is left to train on: each of the {} files that no held-out part took is not "
        "UTF-8 or has no tokens",
        rest.size());
  }
  std::sort(split.skipped.begin(), split.skipped.end());
  return split;
}

std::string token_file(std::string_view tokens, std::size_t width, TokenFormat format) {
  if (format == TokenFormat::kText) {
    fail_usage("token files hold tokens: text is no format of theirs");
  }
  const std::size_t count = tokens.size() / width;
  const std::size_t wide = format == TokenFormat::kU16    ? 2
                           : format == TokenFormat::kU32  ? 4
                           : format == TokenFormat::kLlmC ? std::max<std::size_t>(width, 2)
                                                          : 1;
  if (wide < width) {
    fail_usage("the tokens take {} bytes each: write them as {}", width,
               width == 2 ? "u16, u32 or llm.c" : "u32 or llm.c");
  }
  std::string file;
  if (format == TokenFormat::kLlmC) file = shard_header({wide == 2, count});
  const std::size_t header = file.size();
  file.resize(header + wide * count, '\0');
  for (std::size_t i = 0; i < count; ++i) {
    std::copy_n(tokens.data() + width * i, width, file.data() + header + wide * i);
  }
  return file;
}

}  // namespace mnm
