#include <vector>

#include "image/unfinished_set.h"
#include "tests/fuzz/fuzz.h"

namespace {

constexpr std::int64_t kPictures = 100;
constexpr std::uint64_t kRow = 16;  // bytes of a picture

}  // namespace

// The journal of an image set that is being written, beside the pixels of 50 pictures. What is read
// of it can be gone on with: one more picture is added, and all of it is there again.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const mnm::fuzz::Scratch scratch;
  static const std::string pixels(128 + 50 * kRow, 'p');
  scratch.write("images.npy", pixels);
  scratch.write("journal", mnm::fuzz::text_of(data, size));
  mnm::fuzz::expect_answer([&] {
    std::int64_t next = 0, rows = 0;
    {
      mnm::UnfinishedSet set(scratch.path(), "identity", kPictures, kRow);
      if (set.next() < 0 || set.next() > kPictures || set.rows() < 0 || set.rows() > 50) {
        std::abort();
      }
      if (set.next() == kPictures) return;
      set.append(std::vector<std::uint8_t>(kRow), set.next() + 1, {});
      next = set.next(), rows = set.rows();
    }
    const mnm::UnfinishedSet again(scratch.path(), "identity", kPictures, kRow);
    if (again.next() != next || again.rows() != rows) std::abort();
  });
  return 0;
}
