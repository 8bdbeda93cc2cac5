#include "db/run_locks.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

#include "base/error.h"

namespace mnm {
namespace {

// Far past what SQLite locks (its bytes from 2^30 on) and what a file may hold.
constexpr std::int64_t kFirstByte = std::int64_t{1} << 62;

// A process that closes any descriptor of a file loses SQLite's locks on it (fcntl(2), "Record
// locks"), so what is opened here stays open as long as the process runs: one descriptor a store.
int descriptor_of(const std::filesystem::path& store) {
  static std::mutex mutex;
  static std::map<std::pair<dev_t, ino_t>, int> opened;
  const std::lock_guard lock(mutex);
  struct stat found {};
  if (::stat(store.c_str(), &found) != 0) return -1;
  const auto [at, is_new] = opened.emplace(std::pair(found.st_dev, found.st_ino), -1);
  if (is_new || at->second < 0) at->second = ::open(store.c_str(), O_RDONLY | O_CLOEXEC);
  return at->second;
}

// Shared, so that whoever may only read the file can take it.
struct flock byte_of(std::int64_t run, int type) {
  struct flock lock {};
  lock.l_type = static_cast<short>(type);
  lock.l_whence = SEEK_SET;
  lock.l_start = kFirstByte + (run & 0x7fffffffffff);  // whatever a strange store calls a run
  lock.l_len = 1;
  return lock;
}

}  // namespace

void take_run_lock(const std::filesystem::path& store, std::int64_t run) {
  struct flock lock = byte_of(run, F_RDLCK);
  ::fcntl(descriptor_of(store), F_OFD_SETLK, &lock);
}

void release_run_lock(const std::filesystem::path& store, std::int64_t run) {
  struct flock lock = byte_of(run, F_UNLCK);
  ::fcntl(descriptor_of(store), F_OFD_SETLK, &lock);
}

bool is_run_locked(const std::filesystem::path& store, std::int64_t run) {
  struct flock lock = byte_of(run, F_WRLCK);
  return ::fcntl(descriptor_of(store), F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

void require_locks(const std::filesystem::path& store) {
  // As SQLite asks, so that what is said of the disk is what SQLite meets there.
  sqlite3_vfs* const vfs = sqlite3_vfs_find(nullptr);
  const auto call = reinterpret_cast<int (*)(int, int, ...)>(vfs->xGetSystemCall(vfs, "fcntl"));
  struct flock lock = byte_of(-1, F_RDLCK);
  if (call(descriptor_of(store), F_SETLK, &lock) == 0) {
    lock.l_type = F_UNLCK;
    call(descriptor_of(store), F_SETLK, &lock);
    return;
  }
  const int error = errno;
  if (error != ENOLCK && error != ENOSYS && error != EOPNOTSUPP && error != EINVAL) return;
  fail(
      "{} lies on a disk without file locks ({}), and they keep processes from writing at the same "
      "time: put the store on another disk",
      store.string(), std::strerror(error));
}

}  // namespace mnm
