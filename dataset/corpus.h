// Makes byte-level token files from a corpus of text files: a training part, and held-out parts
// that share no file with it or with each other.
//
// A document is a file. Its tokens are its bytes, followed by one zero byte. The part that a file
// belongs to depends only on the seed and on the file's path below the corpus. So the same corpus
// gives the same bytes on every machine.
#pragma once

#include <cstdint>
#include <filesystem>
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
// (fnmatch), by ascending name. Links are not followed. Error: an input does not exist, no file
// matches, or two files below two directories have the same name.
std::vector<CorpusFile> list_corpus(std::span<const std::filesystem::path> inputs,
                                    const std::string& glob);

struct HeldOut {
  std::int64_t tokens = 0;   // targets; one more token is written, since the first is only input
  std::int64_t excerpt = 0;  // of each file at most so many bytes, from a place given by its name;
                             // 0: whole files, so few of them
};

struct CorpusPart {
  std::vector<std::string> names;  // of the files it is made of, in the order of the tokens
  std::string tokens;              // bytes
};

struct SplitCorpus {
  CorpusPart train;                  // every file no held-out part took, by ascending name
  std::vector<CorpusPart> held_out;  // one per request, files by ascending hash of seed and name
  std::vector<std::string> skipped;  // empty, with a zero byte, or the same as an earlier file
};

// Error where the corpus has too few bytes for the held-out parts and one training file.
SplitCorpus split_corpus(std::span<const CorpusFile> files, std::span<const HeldOut> held_out,
                         std::uint64_t seed);

// The bytes of a token file that holds `tokens`. kBytes: as they are. kU16 and kU32: numbers
// without a header. kLlmC: a shard of uint16 (magic 20240520). UsageError for text, which is no
// format of tokens.
std::string token_file(std::string_view tokens, TokenFormat format);

}  // namespace mnm
