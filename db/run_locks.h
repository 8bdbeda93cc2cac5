// Locks on a byte of a store's file, one for each run that goes on. They show processes that cannot
// be seen otherwise: in another container, or on another machine with a shared disk. The kernel
// releases the locks when a process ends, however it ends.
#pragma once

#include <cstdint>
#include <filesystem>

namespace mnm {

// `store` exists. If the disk has no such locks, none is taken and none is seen.
void take_run_lock(const std::filesystem::path& store, std::int64_t run);
void release_run_lock(const std::filesystem::path& store, std::int64_t run);
// Whether another process has taken it.
bool is_run_locked(const std::filesystem::path& store, std::int64_t run);

// Error if the disk of the store has no locks, because SQLite would take that for a lock of another
// process, and wait.
void require_locks(const std::filesystem::path& store);

}  // namespace mnm
