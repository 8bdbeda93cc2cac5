#include "dataset/corpus.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <set>

#include "base/error.h"
#include "dataset/tokens.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

class Corpus : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(dir_ / "a/b");
    for (int i = 0; i < 40; ++i) {
      const std::string name = fmt::format("{}f{:02}.py", i % 2 == 0 ? "a/" : "a/b/", i);
      std::string text;
      for (int line = 0; line < 20; ++line) text += fmt::format("file {} line {}\n", i, line);
      test::spew(dir_ / name, text);
    }
    test::spew(dir_ / "a/copy.py", test::slurp(dir_ / "a/f00.py"));
    test::spew(dir_ / "a/empty.py", "");
    test::spew(dir_ / "a/binary.py", std::string("x\0y", 3));
    test::spew(dir_ / "a/notes.txt", "not python\n");
    fs::create_symlink(dir_ / "a/f00.py", dir_ / "a/link.py");
  }

  std::vector<CorpusFile> files(const std::string& glob = "*.py") const {
    const fs::path roots[] = {dir_.path()};
    return list_corpus(roots, glob);
  }

  test::TempDir dir_;
};

TEST_F(Corpus, ListsRegularFilesThatMatchByName) {
  const auto found = files();
  EXPECT_EQ(found.size(), 43u);  // 40, the copy, the empty and the binary one; no link
  EXPECT_TRUE(std::is_sorted(found.begin(), found.end(),
                             [](const auto& a, const auto& b) { return a.name < b.name; }));
  EXPECT_EQ(files("notes*").size(), 1u);
  EXPECT_THROW(files("*.rs"), Error);
  const fs::path gone[] = {dir_ / "gone"};
  EXPECT_THROW(list_corpus(gone, "*"), Error);
  const fs::path twice[] = {dir_ / "a", dir_ / "a"};
  EXPECT_THROW(list_corpus(twice, "*"), Error);
}

TEST_F(Corpus, PartsShareNoFileAndAddUp) {
  const auto all = files();
  for (const std::int64_t excerpt : {0, 50}) {
    const HeldOut requests[] = {{1000, excerpt}, {500, excerpt}};
    const SplitCorpus split = split_corpus(all, requests, 1);
    ASSERT_EQ(split.held_out.size(), 2u);
    EXPECT_EQ(split.held_out[0].tokens.size(), 1001u);
    EXPECT_EQ(split.held_out[1].tokens.size(), 501u);
    // f00 and its copy are one text: the first by name counts.
    EXPECT_EQ(split.skipped, (std::vector<std::string>{"a/binary.py", "a/empty.py", "a/f00.py"}));
    std::set<std::string> seen(split.skipped.begin(), split.skipped.end());
    for (const auto* part : {&split.train, &split.held_out[0], &split.held_out[1]}) {
      for (const std::string& name : part->names) EXPECT_TRUE(seen.insert(name).second) << name;
    }
    EXPECT_EQ(seen.size(), all.size());
    EXPECT_GT(split.held_out[0].names.size(), excerpt == 0 ? 1u : 15u);
  }
}

TEST_F(Corpus, TrainingTokensAreTheFilesWithAZeroByteAfterEach) {
  const SplitCorpus split = split_corpus(files(), {}, 1);
  std::string expected;
  for (const std::string& name : split.train.names) {
    expected += test::slurp(dir_ / name) + std::string(1, '\0');
  }
  EXPECT_EQ(split.train.tokens, expected);
  EXPECT_TRUE(std::is_sorted(split.train.names.begin(), split.train.names.end()));
}

TEST_F(Corpus, SplitHangsOnTheSeedAndTheNamesAlone) {
  const HeldOut requests[] = {{1000, 64}};
  const auto at = [&](std::uint64_t seed) { return split_corpus(files(), requests, seed); };
  EXPECT_EQ(at(1).held_out[0].tokens, at(1).held_out[0].tokens);
  EXPECT_NE(at(1).held_out[0].names, at(2).held_out[0].names);

  test::TempDir elsewhere;
  fs::copy(dir_ / "a", elsewhere / "a",
           fs::copy_options::recursive | fs::copy_options::skip_symlinks);
  const fs::path roots[] = {elsewhere.path()};
  EXPECT_EQ(split_corpus(list_corpus(roots, "*.py"), requests, 1).held_out[0].tokens,
            at(1).held_out[0].tokens);
}

TEST_F(Corpus, TooSmallIsAnError) {
  const auto all = files();
  const HeldOut more[] = {{100000000, 0}};
  EXPECT_THROW(split_corpus(all, more, 1), Error);
  const HeldOut everything[] = {
      {static_cast<std::int64_t>(split_corpus(all, {}, 1).train.tokens.size()) - 1, 0}};
  EXPECT_THROW(split_corpus(all, everything, 1), Error);
}

// Ids from 0 on for the letters from 'a' on. A text with an x counts as not UTF-8, and one with a y
// cannot be tokenized.
std::optional<std::vector<std::int64_t>> letters(const std::string& text) {
  if (text.find_first_of("x\x80\xc3") != std::string::npos) return std::nullopt;
  if (test::contains(text, "y")) fail("it has a y");
  std::vector<std::int64_t> ids;
  for (const char c : text) ids.push_back(c - 'a');
  return ids;
}

TEST_F(Corpus, OnlyWhatIsNotUtf8IsLeftOut) {
  const auto split = [&](const std::vector<std::string>& texts, std::int64_t end,
                         std::vector<HeldOut> held_out = {}) {
    std::vector<CorpusFile> files;
    for (const std::string& text : texts) {
      files.push_back({dir_ / std::to_string(files.size()), std::to_string(files.size())});
      test::spew(files.back().path, text);
    }
    return split_corpus(files, held_out, 1, documents_of(letters, end, 20));
  };
  const auto error = [&](const std::vector<std::string>& texts, std::int64_t end,
                         std::vector<HeldOut> held_out = {}) {
    return test::error_of([&] { split(texts, end, held_out); });
  };
  EXPECT_EQ(split({"abc", "x", "ab"}, 19).skipped, std::vector<std::string>{"1"});
  EXPECT_EQ(split({"abc", "x", "ab"}, 19).train.tokens.size(), 2u * (4 + 3));
  // Of a whole file nothing is cut away to make it UTF-8.
  EXPECT_EQ(split({"abc", "\x80zabc", "ab\xc3"}, 19).skipped, (std::vector<std::string>{"1", "2"}));
  // The tokenizer's own refusal, and a letter past the vocabulary, name the file.
  EXPECT_TRUE(test::contains(error({"abc", "y"}, 19), (dir_ / "1").string() + ": it has a y"));
  EXPECT_TRUE(test::contains(error({"abc", "uz"}, 19), "/1: token 20 is outside"));
  // An end of text that is none is told before any file is read.
  EXPECT_TRUE(test::contains(test::error_of([] { documents_of(letters, 20, 20); }),
                             "token 20 cannot end texts: the vocabulary has 20 tokens"));
  EXPECT_TRUE(test::contains(error({"x", "xx"}, 19), "nothing is left to train on: each of the 2"));
  EXPECT_TRUE(test::contains(error({"", std::string(1, '\0')}, 19), "each of 2 is empty"));
  EXPECT_TRUE(test::contains(error({"abc", "x", "ab"}, 19, {{100, 0}}), "its 2 usable files"));
}

TEST_F(Corpus, AFileThatIsWrittenMeanwhileIsNoPartOfIt) {
  const CorpusFile file[] = {{dir_ / "a/notes.txt", "notes.txt"}, {dir_ / "a/f01.py", "f01.py"}};
  test::spew(dir_ / "a/f01.py", "another text");
  const DocumentTokens documents = {1, [&](const std::string& text) {
                                      for (const CorpusFile& f : file) test::spew(f.path, "new");
                                      return text;
                                    }};
  EXPECT_TRUE(test::contains(test::error_of([&] { split_corpus(file, {}, 1, documents); }),
                             "it was written while the corpus was read"));
}

TEST_F(Corpus, TokenFilesAreReadBack) {
  const std::string tokens = "abc\xff\n" + std::string(1, '\0') + "z";
  for (const std::string_view format : kTokenFormats) {
    const TokenFormat parsed = parse_token_format(format);
    if (parsed == TokenFormat::kText) {
      EXPECT_THROW(token_file(tokens, 1, parsed), UsageError);
      continue;
    }
    test::spew(dir_ / "tokens", token_file(tokens, 1, parsed));
    const TokenFile file(dir_ / "tokens", {.format = parsed});
    ASSERT_EQ(file.size(), tokens.size()) << format;
    std::vector<std::int64_t> read(tokens.size());
    file.read(0, read, 256);
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      EXPECT_EQ(read[i], static_cast<unsigned char>(tokens[i])) << format << " at " << i;
    }
  }
}

// As a tokenizer serves any function from text to ids.
TEST_F(Corpus, DocumentsOfATokenizerKeepTheirIdsInEveryFormat) {
  const auto encode = [](const std::string& text) {
    std::vector<std::int64_t> ids;
    for (const char c : text) ids.push_back(1000 + static_cast<unsigned char>(c));
    return ids;
  };
  const std::string path = dir_ / "a/notes.txt";
  const CorpusFile file[] = {{path, "notes.txt"}};
  for (const std::int64_t vocab : {std::int64_t{2000}, std::int64_t{70'000}}) {
    const DocumentTokens documents = documents_of(encode, vocab - 1, vocab);
    ASSERT_EQ(documents.width, vocab == 2000 ? 2u : 4u);
    const SplitCorpus split = split_corpus(file, {}, 1, documents);
    std::vector<std::int64_t> expected = encode("not python\n");
    expected.push_back(vocab - 1);
    for (const TokenFormat format : {TokenFormat::kU16, TokenFormat::kU32, TokenFormat::kLlmC}) {
      if (format == TokenFormat::kU16 && documents.width == 4) {
        EXPECT_THROW(token_file(split.train.tokens, 4, format), UsageError);
        continue;
      }
      test::spew(dir_ / "tokens", token_file(split.train.tokens, documents.width, format));
      const TokenFile read(dir_ / "tokens", {.format = format, .vocab_size = vocab});
      std::vector<std::int64_t> ids(read.size());
      read.read(0, ids, vocab);
      EXPECT_EQ(ids, expected);
    }
  }
  EXPECT_THROW(token_file("abcd", 2, TokenFormat::kBytes), UsageError);
}

// U+00E9 is two bytes and U+1F600 four: an excerpt that cuts them keeps whole characters.
TEST_F(Corpus, ExcerptsOfATokenizerAreWholeCharacters) {
  std::string text;
  for (int i = 0; i < 300; ++i)
    text += i % 3 == 0 ? "\xc3\xa9" : i % 3 == 1 ? "\xf0\x9f\x98\x80" : "x";
  test::spew(dir_ / "a/letters.txt", text);
  const auto sound = [](const std::string& t) {
    const std::size_t length = t.empty()                                  ? 0
                               : static_cast<unsigned char>(t[0]) >= 0xf0 ? 4
                               : static_cast<unsigned char>(t[0]) >= 0xc0 ? 2
                                                                          : 1;
    return length;
  };
  const auto encode = [&](const std::string& t) {
    std::vector<std::int64_t> ids;
    for (std::size_t at = 0; at < t.size();) {
      const std::size_t length = sound(t.substr(at));
      if ((static_cast<unsigned char>(t[at]) & 0xc0) == 0x80 || at + length > t.size()) {
        ADD_FAILURE() << "a piece of a character reached the tokenizer";
      }
      ids.push_back(static_cast<std::int64_t>(length));
      at += length;
    }
    return ids;
  };
  const CorpusFile files[] = {{dir_ / "a/letters.txt", "letters.txt"},
                              {dir_ / "a/notes.txt", "notes.txt"}};
  const DocumentTokens documents = documents_of(encode, -1, 10);
  for (std::int64_t excerpt = 20; excerpt < 32; ++excerpt) {
    for (std::uint64_t seed = 0; seed < 8; ++seed) {
      const HeldOut held[] = {{3, excerpt}};
      EXPECT_TRUE(split_corpus(files, held, seed, documents).skipped.empty());
    }
  }
}

}  // namespace
}  // namespace mnm
