// Runs: begun, owned by a process, taken over, finished.
#include <utility>

#include "base/error.h"
#include "db/run_locks.h"
#include "db/store.h"
#include "db/store_impl.h"

namespace mnm {
namespace {

// Before version 5 the runs of one search were those with the same settings, which name a session.
constexpr std::string_view kSession = "coalesce(session, id)";
constexpr std::string_view kSession4 =
    "CASE WHEN settings LIKE '{\"session\":%' "
    "THEN (SELECT min(id) FROM run o WHERE o.settings = run.settings) ELSE id END";

std::string select_runs(const Store::Impl& store, std::string_view rest) {
  return fmt::format(
      "SELECT id, model, data, command, strategy, seed, settings, command_line, build, device, "
      "started, dtype, status, owner_host, owner_boot, owner_pid, owner_start, "
      "(SELECT coalesce(max(position) + 1, 0) FROM run_record WHERE run = run.id), part, {} "
      "FROM run {}",
      store.version < 5 ? kSession4 : kSession, rest);
}

std::string name_of(const Process& process) {
  return fmt::format("process {} on {}", process.pid, process.host);
}

Process owner_of(const sqlite::Statement& row, int column) {
  return {row.string(column), row.string(column + 1), row.integer(column + 2),
          row.integer(column + 3)};
}

// Whether somebody carries it out: a process that is seen here, or one that is not.
bool is_carried_out(const Store::Impl& store, std::int64_t run, const Process& owner) {
  return alive(owner) || is_run_locked(store.path, run);
}

RunRow run_of(const Store::Impl& store, const sqlite::Statement& row) {
  RunRow run;
  run.id = row.integer(0);
  run.model = row.integer(1);
  run.data = row.integer(2);
  run.command = row.string(3);
  run.strategy = row.string(4);
  run.seed = static_cast<std::uint64_t>(row.integer(5));
  run.settings = row.string(6);
  run.command_line = row.string(7);
  run.build = row.string(8);
  run.device = row.string(9);
  run.started = row.string(10);
  run.dtype = dtype_of(store, row.text(11));
  run.status = row.string(12);
  if (run.status == "running") {
    const Process owner = owner_of(row, 13);
    if (is_carried_out(store, run.id, owner)) run.owner = name_of(owner);
  }
  run.records = row.integer(17);
  run.part = row.string(18);
  run.session = row.integer(19);
  return run;
}

struct State {
  std::string status;
  Process owner;  // where it is running
};

// Within the caller's transaction. Error where there is no such run.
State state_of(Store::Impl& store, std::int64_t run) {
  sqlite::Statement& row = store.statement(
      "SELECT status, owner_host, owner_boot, owner_pid, owner_start FROM run WHERE id = ?");
  if (!row.bind(run).step()) fail("{} has no run {}", store.path.string(), run);
  State state{row.string(0), owner_of(row, 1)};
  row.reset();
  return state;
}

}  // namespace

void require_owned(Store::Impl& store, std::int64_t run) {
  const State state = state_of(store, run);
  if (state.status != "running") {
    fail("run {} of {} is {}, nothing can be added: resume it, or begin a new one", run,
         store.path.string(), state.status);
  }
  if (state.owner != store.self) {
    fail("run {} of {} was taken over by {}: this process may not add to it any more", run,
         store.path.string(), name_of(state.owner));
  }
}

std::int64_t Store::begin_run(const RunRow& row) {
  return impl_->write([&] {
    impl_
        ->statement(
            "INSERT INTO run (model, data, part, dtype, command, strategy, seed, settings, "
            "command_line, build, device, started, status, owner_host, owner_boot, "
            "owner_pid, owner_start, session) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'running', ?, ?, ?, ?, ?)")
        .bind(row.model, row.data, row.part, to_string(row.dtype), row.command, row.strategy,
              row.seed, row.settings, row.command_line, row.build, row.device,
              row.started.empty() ? now_utc() : row.started, impl_->self.host, impl_->self.boot,
              impl_->self.pid, impl_->self.start,
              row.session == 0 ? std::nullopt : std::optional(row.session))
        .run();
    const std::int64_t run = impl_->file->connection().last_id();
    take_run_lock(impl_->path, run);
    return run;
  });
}

void Store::resume_run(std::int64_t run) {
  impl_->write([&] {
    const State state = state_of(*impl_, run);
    if (state.status == "done") {
      fail("run {} of {} is done: there is nothing to resume, begin a new one", run,
           impl_->path.string());
    }
    if (state.status == "running" && state.owner != impl_->self &&
        is_carried_out(*impl_, run, state.owner)) {
      fail("run {} of {} is being carried out by {}: wait until that ends, or stop it", run,
           impl_->path.string(), name_of(state.owner));
    }
    impl_
        ->statement(
            "UPDATE run SET status = 'running', owner_host = ?, owner_boot = ?, "
            "owner_pid = ?, owner_start = ? WHERE id = ?")
        .bind(impl_->self.host, impl_->self.boot, impl_->self.pid, impl_->self.start, run)
        .run();
    take_run_lock(impl_->path, run);
  });
}

void Store::finish_run(std::int64_t run, const std::string& status) {
  if (status != "done" && status != "stopped") {
    fail_usage("a run cannot be finished as '{}': expected done or stopped", status);
  }
  impl_->write([&] {
    require_owned(*impl_, run);
    impl_
        ->statement(
            "UPDATE run SET status = ?, owner_host = NULL, owner_boot = NULL, "
            "owner_pid = NULL, owner_start = NULL WHERE id = ?")
        .bind(status, run)
        .run();
    release_run_lock(impl_->path, run);
  });
}

std::optional<RunRow> Store::run(std::int64_t id) const {
  return impl_->read([&] {
    sqlite::Statement& row = impl_->statement(select_runs(*impl_, "WHERE id = ?"));
    std::optional<RunRow> run;
    if (row.bind(id).step()) run = run_of(*impl_, row);
    row.reset();
    return run;
  });
}

std::vector<RunRow> Store::runs() const {
  return impl_->read([&] {
    std::vector<RunRow> runs;
    sqlite::Statement& row = impl_->statement(select_runs(*impl_, "ORDER BY id"));
    row.reset();
    while (row.step()) runs.push_back(run_of(*impl_, row));
    row.reset();
    return runs;
  });
}

}  // namespace mnm
