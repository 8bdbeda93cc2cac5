// encode_text DIRECTORY FILE: how long the tokenizer of a checkpoint takes to read, and a text to
// encode: processor seconds of one thread, the best of five for the text. bench/gemma_words.py runs
// it.
#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include "base/error.h"
#include "text/tokenizer.h"

namespace mnm {
namespace {

double now() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

void bench(const std::string& directory, const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) fail("cannot read {}", file);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const double begin = now();
  const Tokenizer tokenizer(find_tokenizer(directory, stated_vocabulary(directory)).value());
  const double read = now() - begin;
  double shortest = std::numeric_limits<double>::infinity();
  std::vector<std::int64_t> ids;
  for (int round = 0; round < 5; ++round) {
    const double start = now();
    ids = tokenizer.encode(text);
    shortest = std::min(shortest, now() - start);
  }
  std::uint64_t sum = 0;  // of the ids, to compare them
  for (const std::int64_t id : ids) sum = sum * 1'000'003 + static_cast<std::uint64_t>(id);
  fmt::print("{{\"bytes\": {}, \"tokens\": {}, \"sum\": {}, \"read\": {}, \"seconds\": {}}}\n",
             text.size(), ids.size(), sum, read, shortest);
}

}  // namespace
}  // namespace mnm

int main(int argc, char** argv) {
  try {
    if (argc != 3) mnm::fail("encode_text DIRECTORY FILE");
    mnm::bench(argv[1], argv[2]);
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "encode_text: {}\n", error.what());
    return 1;
  }
}
