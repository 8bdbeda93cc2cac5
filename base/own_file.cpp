#include "base/own_file.h"

#include <unistd.h>

namespace mnm {

bool is_own_file(const struct stat& status) {
  return S_ISREG(status.st_mode) && status.st_nlink == 1 && status.st_uid == geteuid();
}

}  // namespace mnm
