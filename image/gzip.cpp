#include "image/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace mnm {

bool is_gzip(std::span<const std::byte> file) {
  return file.size() > 2 && file[0] == std::byte{0x1f} && file[1] == std::byte{0x8b};
}

std::vector<std::byte> gunzip(std::span<const std::byte> file, const std::string& name,
                              std::uint64_t most) {
  constexpr std::size_t kStep = 1 << 20;
  constexpr int kGzipHeader = 16 + MAX_WBITS;
  struct Stream {
    z_stream z{};
    ~Stream() { inflateEnd(&z); }
  } stream;
  z_stream& z = stream.z;
  if (inflateInit2(&z, kGzipHeader) != Z_OK) fail("cannot read {}: zlib does not start", name);
  std::vector<std::byte> out;
  int status = Z_OK;
  while (status == Z_OK && out.size() < most) {
    if (z.avail_in == 0) {
      const std::size_t part = std::min<std::size_t>(file.size(), std::numeric_limits<uInt>::max());
      z.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(file.data()));
      z.avail_in = static_cast<uInt>(part);
      file = file.subspan(part);
    }
    const std::size_t before = out.size();
    out.resize(std::min<std::uint64_t>(most, before + kStep));
    z.next_out = reinterpret_cast<Bytef*>(out.data() + before);
    z.avail_out = static_cast<uInt>(out.size() - before);
    status = inflate(&z, Z_NO_FLUSH);
    out.resize(out.size() - z.avail_out);
  }
  if (status == Z_BUF_ERROR) fail("cannot read {}: the gzip file is truncated", name);
  if (status != Z_OK && status != Z_STREAM_END)
    fail("cannot read {}: the gzip file is damaged", name);
  return out;
}

}  // namespace mnm
