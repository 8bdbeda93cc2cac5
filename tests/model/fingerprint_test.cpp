#include "model/fingerprint.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace mnm {
namespace {

std::string hex_of(std::span<const std::byte> bytes) {
  Fingerprint fingerprint;
  fingerprint.add(bytes);
  return fingerprint.hex();
}

TEST(Fingerprint, KnownValues) {
  // xxhsum -H2 of an empty input and of "abc" (xxHash 0.8).
  EXPECT_EQ(Fingerprint().hex(), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(hex_of(std::as_bytes(std::span("abc", 3))), "06b05ab6733a618578af5f94892f3950");
}

TEST(Fingerprint, BytesMayComeInAnyPieces) {
  std::vector<std::byte> bytes(3000);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 7 % 251);
  const std::string whole = hex_of(bytes);
  for (const std::size_t piece : {1, 3, 64, 255, 1024, 2999}) {
    Fingerprint fingerprint;
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      fingerprint.add(std::span(bytes).subspan(at, std::min(piece, bytes.size() - at)));
    }
    EXPECT_EQ(fingerprint.hex(), whole) << piece;
  }
}

TEST(Fingerprint, TextsDoNotRunTogether) {
  std::set<std::string> seen;
  for (const auto& texts : std::vector<std::vector<std::string>>{
           {}, {""}, {"", ""}, {"ab"}, {"a", "b"}, {"", "ab"}, {"ab", ""}, {"b", "a"}}) {
    Fingerprint fingerprint;
    for (const std::string& text : texts) fingerprint.add(text);
    EXPECT_EQ(fingerprint.hex().size(), 32u);
    EXPECT_TRUE(seen.insert(fingerprint.hex()).second);
  }
}

TEST(Fingerprint, EveryBitCounts) {
  std::vector<std::byte> bytes(40);
  std::set<std::string> seen = {hex_of(bytes)};
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    EXPECT_TRUE(seen.insert(hex_of(bytes)).second) << bit;
    bytes[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
  }
}

}  // namespace
}  // namespace mnm
