// 128-bit content fingerprints (XXH3), as 32 hex digits. They identify content and do not
// authenticate it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mnm {

class Fingerprint {
 public:
  Fingerprint();
  ~Fingerprint();
  void add(std::span<const std::byte> bytes);
  void add(std::string_view text);  // its length, then its bytes: concatenations do not collide
  std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Samples of bytes that lie in several places, which are taken as one long string. Up to kSampled
// (64 MiB) all bytes are taken. Of a longer string 256 KiB are taken at each of 256 evenly spaced
// places. So a checkpoint of any size is recognised in a fraction of a second. Two checkpoints that
// differ only between those places have the same fingerprint. This can happen after an edit by
// hand, and hardly after training.
class SampledBytes {
 public:
  static constexpr std::uint64_t kPieces = 256, kPiece = 256u << 10, kSampled = kPieces * kPiece;

  // `read` gives the bytes from `begin` on, of `length` bytes in all. Files should be read, not
  // mapped. The kernel maps megabytes around each place that is touched, and they would count as
  // this process's memory.
  using Read = std::function<void(std::uint64_t begin, std::span<std::byte> into)>;
  void append(std::uint64_t length, Read read);
  void feed(Fingerprint& fingerprint) const;

 private:
  struct Part {
    std::uint64_t begin = 0, length = 0;
    Read read;
  };
  void feed(Fingerprint& fingerprint, std::uint64_t begin, std::uint64_t length) const;
  static void feed(Fingerprint& fingerprint, const Part& part, std::uint64_t from,
                   std::uint64_t length);

  std::vector<Part> parts_;
  std::uint64_t size_ = 0;
};

}  // namespace mnm
