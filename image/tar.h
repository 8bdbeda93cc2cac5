// Lists the files in a tar archive: ustar, with the long names of GNU tar and of pax.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace mnm {

struct TarMember {
  std::string name;
  std::uint64_t offset = 0, size = 0;  // of its bytes, in the archive
};

bool has_tar_header(std::span<const std::byte> archive);

// The regular files, in the order of the archive. Directories are left out. Nothing is ever written
// under a member's name. Still, an archive with an absolute name, a name with "..", a link, a
// device or a sparse file is an Error, because it was not made to hold pictures. So is one that has
// a wrong checksum, that does not end with a block of zeros, or whose end is followed by anything
// but zeros, as in archives that were joined. Errors name the archive `name` and the member.
std::vector<TarMember> list_tar(std::span<const std::byte> archive, const std::string& name);

}  // namespace mnm
