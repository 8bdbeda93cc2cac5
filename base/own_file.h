// Whether a file that an earlier run may have left can be gone on with.
#pragma once

#include <sys/stat.h>

namespace mnm {

// A regular file of this user without a second name. Nothing else was made by an earlier run, and
// to write to it could write to a file of somebody else.
bool is_own_file(const struct stat& status);

}  // namespace mnm
