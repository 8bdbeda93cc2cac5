// Gives a target its seeds, and damaged copies of them, without libFuzzer: the same ones each time.
//   fuzz_READER SEEDS [COPIES]
#include <algorithm>
#include <cstdio>
#include <iterator>
#include <random>
#include <vector>

#include "tests/fuzz/fuzz.h"

namespace {

using Bytes = std::vector<std::uint8_t>;

std::vector<Bytes> read_seeds(const std::filesystem::path& directory) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    paths.push_back(entry.path());
  }
  std::ranges::sort(paths);
  std::vector<Bytes> seeds;
  for (const auto& path : paths) {
    std::ifstream in(path, std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return seeds;
}

// One seed with a byte changed, a number made extreme, a piece cut out, doubled or taken from
// another, or its end cut off; several times over.
class Damage {
 public:
  explicit Damage(const std::vector<Bytes>& seeds) : seeds_(seeds) {}

  Bytes next() {
    Bytes bytes = seeds_[below(seeds_.size())];
    for (std::size_t i = 1 + below(4); i > 0; --i) change(bytes);
    return bytes;
  }

 private:
  std::size_t below(std::size_t end) { return end == 0 ? 0 : random_() % end; }

  void change(Bytes& bytes) {
    const std::size_t at = below(bytes.size()),
                      length = below(std::min<std::size_t>(64, bytes.size() - at));
    const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    const auto end = begin + static_cast<std::ptrdiff_t>(length);
    switch (below(7)) {
      case 0:
        if (!bytes.empty()) bytes[at] = static_cast<std::uint8_t>(random_());
        break;
      case 1:
        std::fill(begin, end, std::uint8_t{0xff});
        break;
      case 2:
        std::fill(begin, end, std::uint8_t{0});
        break;
      case 3:
        bytes.erase(begin, end);
        break;
      case 4: {
        const Bytes piece(begin, end);
        bytes.insert(begin, piece.begin(), piece.end());
        break;
      }
      case 5: {
        const Bytes& other = seeds_[below(seeds_.size())];
        if (at < other.size()) {
          const std::size_t most = std::min(length, other.size() - at);
          std::copy_n(other.begin() + static_cast<std::ptrdiff_t>(at), most, begin);
        }
        break;
      }
      default:
        if (below(4) == 0) bytes.resize(at);
    }
  }

  const std::vector<Bytes>& seeds_;
  std::mt19937 random_{1};
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s SEEDS [COPIES]\n", argv[0]);
    return 2;
  }
  const std::vector<Bytes> seeds = read_seeds(argv[1]);
  if (seeds.empty()) {
    std::fprintf(stderr, "%s holds no seeds\n", argv[1]);
    return 1;
  }
  for (const Bytes& seed : seeds) LLVMFuzzerTestOneInput(seed.data(), seed.size());
  Damage damage(seeds);
  const int copies = argc > 2 ? std::atoi(argv[2]) : 500;
  for (int i = 0; i < copies; ++i) {
    const Bytes bytes = damage.next();
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  std::printf("%zu seeds, %d damaged copies\n", seeds.size(), copies);
  return 0;
}
