// 128-bit content fingerprints (XXH3), as 32 hex digits: they identify, they do not authenticate.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

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

}  // namespace mnm
