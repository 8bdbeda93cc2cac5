#include "model/fingerprint.h"

#include <fmt/format.h>

#define XXH_INLINE_ALL
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#include <xxhash.h>
#pragma GCC diagnostic pop

#include <algorithm>
#include <cstdint>
#include <utility>

namespace mnm {

struct Fingerprint::State {
  XXH3_state_t xxh;
};

Fingerprint::Fingerprint() : state_(std::make_unique<State>()) {
  XXH3_INITSTATE(&state_->xxh);
  XXH3_128bits_reset(&state_->xxh);
}

Fingerprint::~Fingerprint() = default;

void Fingerprint::add(std::span<const std::byte> bytes) {
  if (!bytes.empty()) XXH3_128bits_update(&state_->xxh, bytes.data(), bytes.size());
}

void Fingerprint::add(std::string_view text) {
  const std::uint64_t size = text.size();
  add(std::as_bytes(std::span(&size, 1)));
  add(std::as_bytes(std::span(text)));
}

std::string Fingerprint::hex() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(&state_->xxh);
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

void SampledBytes::append(std::uint64_t length, Read read) {
  if (length > 0) parts_.push_back({size_, length, std::move(read)});
  size_ += length;
}

void SampledBytes::feed(Fingerprint& fingerprint) const {
  if (size_ <= kSampled) return feed(fingerprint, 0, size_);
  // Evenly spaced, the first at the beginning and the last at the end, without forming i * size.
  const std::uint64_t room = size_ - kPiece;
  const std::uint64_t stride = room / (kPieces - 1), rest = room % (kPieces - 1);
  for (std::uint64_t i = 0; i < kPieces; ++i) {
    feed(fingerprint, i * stride + i * rest / (kPieces - 1), kPiece);
  }
}

void SampledBytes::feed(Fingerprint& fingerprint, std::uint64_t begin, std::uint64_t length) const {
  auto part = std::ranges::upper_bound(parts_, begin, {}, &Part::begin);
  if (part != parts_.begin()) --part;
  for (; length > 0 && part != parts_.end(); ++part) {
    const std::uint64_t from = begin - part->begin;
    const std::uint64_t count = std::min(length, part->length - from);
    feed(fingerprint, *part, from, count);
    begin += count;
    length -= count;
  }
}

void SampledBytes::feed(Fingerprint& fingerprint, const Part& part, std::uint64_t from,
                        std::uint64_t length) {
  std::vector<std::byte> buffer(std::min(length, kPiece));
  while (length > 0) {
    const std::span<std::byte> chunk =
        std::span(buffer).first(std::min<std::uint64_t>(length, buffer.size()));
    part.read(from, chunk);
    fingerprint.add(chunk);
    from += chunk.size();
    length -= chunk.size();
  }
}

}  // namespace mnm
