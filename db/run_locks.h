// Locks on a byte of a store's file for each run that goes on. They tell of processes that are not
// seen otherwise, in another container or, where the disk is shared, on another machine; the kernel
// lets go of them when a process ends, however it ends.
#pragma once

#include <cstdint>
#include <filesystem>

namespace mnm {

// `store` is there. Where the disk has no such locks, nothing is taken, and nothing is seen.
void take_run_lock(const std::filesystem::path& store, std::int64_t run);
void release_run_lock(const std::filesystem::path& store, std::int64_t run);
// Whether another process has taken it.
bool is_run_locked(const std::filesystem::path& store, std::int64_t run);

// Error where the disk on which the store lies has no locks: SQLite would take that for a lock of
// another process, and wait.
void require_locks(const std::filesystem::path& store);

}  // namespace mnm
