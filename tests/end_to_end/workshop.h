// A tiny random nested model, token files for it, and a store: what most end-to-end tests start
// with.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/end_to_end/program.h"
#include "tests/support/tiny_llama.h"

namespace mnm::test {

class Workshop : public ::testing::Test {
 protected:
  Workshop() {
    llama_.layers = 4;
    llama_.vocab = 256;
    llama_.positions = 32;
    model_ = llama_.write(dir_ / "model").string();
    search_ = tokens("search.bin", 1, 32 * 8 + 1);
    confirm_ = tokens("confirm.bin", 2, 32 * 8 + 1);
    db_ = (dir_ / "results.db").string();
  }

  std::string tokens(const std::string& name, std::uint32_t seed, std::size_t count) const {
    std::mt19937 random(seed);
    std::string bytes;
    // Letters and signs: other bytes are no text, so they would be taken only when asked for.
    for (std::size_t i = 0; i < count; ++i) bytes += static_cast<char>(' ' + random() % 95);
    spew(dir_ / name, bytes);
    return (dir_ / name).string();
  }

  // mixnmatch search of the model into the store, with more arguments.
  std::vector<std::string> search(const std::vector<std::string>& more,
                                  const std::string& db) const {
    std::vector<std::string> all = {"search",    model_, "--data",  search_,     "--confirm",
                                    confirm_,    "--db", db,        "--context", "32",
                                    "--threads", "1",    "--batch", "16"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  std::string path(const std::string& name) const { return (dir_ / name).string(); }

  TempDir dir_;
  TinyLlama llama_;
  std::string model_, search_, confirm_, db_;
};

// Runs it, demands success, and returns it.
inline Result expect_done(const std::vector<std::string>& arguments) {
  Result result = mixnmatch(arguments);
  EXPECT_EQ(result.status, 0) << arguments.front() << ": " << result.err;
  return result;
}

// Runs it, demands the exit status, nothing on standard output, and a sentence that holds `part`.
inline void expect_refused(const std::vector<std::string>& arguments, int status,
                           const std::string& part) {
  const Result result = mixnmatch(arguments);
  std::string line;
  for (const std::string& word : arguments) line += word + " ";
  EXPECT_EQ(result.status, status) << line << "\n" << result.err;
  EXPECT_EQ(result.out, "") << line;
  EXPECT_NE(result.err.find("mixnmatch: "), std::string::npos) << line << "\n" << result.err;
  EXPECT_NE(result.err.find(part), std::string::npos) << line << "\nlacks: " << part << "\n"
                                                      << result.err;
}

}  // namespace mnm::test
