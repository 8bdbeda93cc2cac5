// Makes token files from a corpus of text files: a training part, and held-out parts that share no
// file with it or with each other.
//
// A document is a file. The part that a file belongs to depends only on the seed and on the file's
// path below the corpus. So the same corpus gives the same tokens on every machine.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dataset/token_format.h"

namespace mnm {

struct CorpusFile {
  std::filesystem::path path;
  std::string name;  // below the directory that was given, with '/'; for a file, its own name
};

// The regular files among `inputs` and below them whose last path component matches `glob`
// (fnmatch), by ascending name. Links below a directory are not followed. Error: an input does not
// exist, a directory cannot be read, no file matches, or two files below two directories have the
// same name.
std::vector<CorpusFile> list_corpus(std::span<const std::filesystem::path> inputs,
                                    const std::string& glob);

struct HeldOut {
  std::int64_t tokens = 0;   // targets; one more token is written, since the first is only input
  std::int64_t excerpt = 0;  // of each file at most so many bytes, from a place given by its name;
                             // 0: whole files, so few of them
};

// How documents become tokens.
struct DocumentTokens {
  std::size_t width = 1;  // bytes of a token: 1, 2 or 4, little-endian
  // The tokens of a document, with what separates it from the next; nothing if it is not UTF-8 and
  // has to be. Error, with only the reason, if it cannot be tokenized for another reason.
  std::function<std::optional<std::string>(const std::string& text)> encode;
  bool of_characters = false;  // an excerpt leaves out the pieces of those that it cuts
};

// A document's tokens are its bytes, followed by one zero byte.
DocumentTokens byte_documents();

// A document's tokens are those that `encode` gives, followed by `end` unless that is negative.
// `encode` gives nothing for a text that is not UTF-8 and has to be. Their width is 2 bytes for a
// vocabulary of at most 65,536 tokens, else 4. Error if `end` is not below `vocab_size`.
DocumentTokens documents_of(
    std::function<std::optional<std::vector<std::int64_t>>(const std::string& text)> encode,
    std::int64_t end, std::int64_t vocab_size);

struct CorpusPart {
  std::vector<std::string> names;  // of the files it is made of, in the order of the tokens
  std::string tokens;              // each of DocumentTokens::width bytes
};

struct SplitCorpus {
  CorpusPart train;                  // every file no held-out part took, by ascending name
  std::vector<CorpusPart> held_out;  // one per request, files by ascending hash of seed and name
  // Empty, with a zero byte, the same as an earlier file, or not UTF-8 where it has to be.
  std::vector<std::string> skipped;
};

// Error if the corpus has too few tokens for the held-out parts and one training file, if a file
// cannot be tokenized, and if one is written meanwhile.
SplitCorpus split_corpus(std::span<const CorpusFile> files, std::span<const HeldOut> held_out,
                         std::uint64_t seed, const DocumentTokens& documents = byte_documents());

// The bytes of a token file that holds `tokens`, each of `width` bytes. kBytes: as they are. kU16
// and kU32: numbers without a header. kLlmC: a shard of uint16, or of uint32 where they are four
// bytes wide. UsageError for text, which is no format of tokens, and for a format whose numbers are
// narrower than the tokens.
std::string token_file(std::string_view tokens, std::size_t width, TokenFormat format);

}  // namespace mnm
