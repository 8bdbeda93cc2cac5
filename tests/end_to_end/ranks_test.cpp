// Several processes as one: the same records, also when one of them dies.
#include <cmath>
#include <map>

#include "tests/end_to_end/image_workshop.h"
#include "tests/end_to_end/losing_program.h"
#include "tests/end_to_end/workshop.h"

namespace mnm::test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Milliseconds = std::chrono::milliseconds;

std::vector<std::string> mpirun_of(int ranks, const std::vector<std::string>& options,
                                   const std::vector<std::string>& program) {
  std::vector<std::string> argv = {
      MNM_MPIRUN,  "-n",  std::to_string(ranks), "--allow-run-as-root", "--oversubscribe",
      "--bind-to", "none"};
  argv.insert(argv.end(), options.begin(), options.end());
  argv.insert(argv.end(), program.begin(), program.end());
  return argv;
}

std::vector<std::string> mpirun(int ranks, const std::vector<std::string>& options,
                                std::vector<std::string> arguments) {
  return mpirun_of(ranks, options, mixnmatch_argv(std::move(arguments)));
}

class Ranks : public Workshop {
 protected:
  Ranks() {
    // Enough work that a rank can be killed in it: 256 submodels, 256 sequences.
    llama_.granularities = {4, 8, 16, 32};
    llama_.full = 32;
    model_ = llama_.write(dir_ / "wide").string();
    tokens("search.bin", 1, 32 * 256 + 1);
  }

  // One batch, whose submodels hang on no loss.
  std::vector<std::string> grid(const std::string& db) const {
    std::vector<std::string> command =
        search({"--strategy", "grid", "--max-evaluations", "256"}, db);
    *std::find(command.begin(), command.end(), "16") = "256";
    return command;
  }

  // Loss by part and widths.
  static std::map<std::string, double> records(const std::string& db) {
    std::map<std::string, double> all;
    for (const Json& r : expect_done({"pareto", "--db", db, "--all", "--json"}).json()) {
      all[r["part"].get<std::string>() + " " + r["widths"].get<std::string>()] = r["loss"];
    }
    return all;
  }

  // A plan of fewer candidates adds up a layer's output in fewer steps: each of the 4 layers' 32
  // products and each of the 16 of a logit moves by epsilon of sums below 8, the loss by twice
  // that.
  static void expect_same(const std::map<std::string, double>& a,
                          const std::map<std::string, double>& b) {
    constexpr double kTolerance = 2 * (4 * 32 + 16) * 8 * 6e-8;
    ASSERT_EQ(a.size(), b.size());
    for (const auto& [name, loss] : a) {
      ASSERT_TRUE(b.contains(name)) << name;
      EXPECT_NEAR(loss, b.at(name), kTolerance) << name;
    }
  }

  // Nothing where it cannot be read, as when the process has just ended.
  static std::string contents_of(const fs::path& path) {
    std::string all;
    const int descriptor = open(path.c_str(), O_RDONLY);
    char block[4096];
    for (ssize_t n = 0; descriptor >= 0 && (n = read(descriptor, block, sizeof block)) > 0;) {
      all.append(block, static_cast<std::size_t>(n));
    }
    if (descriptor >= 0) close(descriptor);
    return all;
  }

  // The process that is that rank of `job`, once it scores: 0 if the job ends before.
  pid_t scoring_rank(const Running& job, int rank) const {
    const std::string mark = "OMPI_COMM_WORLD_RANK=" + std::to_string(rank);
    for (; !job.ended(); std::this_thread::sleep_for(Milliseconds(5))) {
      for (const auto& entry : fs::directory_iterator("/proc")) {
        const std::string name = entry.path().filename();
        if (name.find_first_not_of("0123456789") != std::string::npos) continue;
        const auto holds = [&](const char* file, const std::string& text) {
          return contents_of(entry.path() / file).find(text) != std::string::npos;
        };
        if (holds("cmdline", dir_.path().string()) && holds("comm", "mixnmatch") &&
            holds("environ", mark) && holds("maps", "libmnm_engine")) {
          return static_cast<pid_t>(std::stol(name));
        }
      }
    }
    return 0;
  }

  // Waits for a process that is no child of ours. If it never ends, neither does the test.
  static void wait_for_end(pid_t process) {
    while (fs::exists("/proc/" + std::to_string(process))) {
      std::this_thread::sleep_for(Milliseconds(5));
    }
  }

  static std::int64_t records_of_search(const std::string& db) {
    const Result result = mixnmatch({"runs", "--db", db, "--json"});
    if (result.status != 0) return 0;
    const Json all = result.json();
    for (const Json& run : all["runs"]) {
      if (run["command"] == "search") return run["records"];
    }
    return 0;
  }
};

TEST_F(Ranks, TwoProcessesKeepTheRecordsOfOne) {
  expect_done(grid(db_));
  const std::string shared = path("shared.db");
  const Result result = Running(mpirun(2, {}, grid(shared))).wait();
  EXPECT_EQ(result.status, 0) << result.err;
  expect_same(records(shared), records(db_));

  const std::vector<std::string> eval = {"eval", model_,   "--data",    search_, "--context",
                                         "32",   "--json", "--threads", "1",     "--consistency"};
  const Json alone = expect_done(eval).json();
  const Json together = Running(mpirun(3, {}, eval)).wait().json();
  ASSERT_EQ(together.size(), alone.size());
  for (std::size_t i = 0; i < alone.size(); ++i) {
    EXPECT_EQ(together[i]["widths"], alone[i]["widths"]);
    EXPECT_NEAR(together[i]["loss"].get<double>(), alone[i]["loss"].get<double>(), 1e-4);
    EXPECT_NEAR(together[i]["kl"].get<double>(), alone[i]["kl"].get<double>(), 1e-4);
  }
}

TEST_F(Ranks, ARankThatIsKilledCostsOnlyItsPart) {
  expect_done(grid(db_));
  const std::string shared = path("shared.db");
  Running running(mpirun(3, {"--enable-recovery", "-x", "MNM_SILENCE=1"}, grid(shared)));
  const pid_t victim = scoring_rank(running, 1);
  ASSERT_GT(victim, 0) << running.err();
  kill(victim, SIGKILL);
  const Result result = running.wait();
  EXPECT_NE(result.err.find("rank 1 was not heard of"), std::string::npos) << result.err;
  EXPECT_NE(result.out.find("best:"), std::string::npos) << "the first rank reported all the same";
  expect_same(records(shared), records(db_));
}

// One that is there and silent, as where a machine or a file system hangs. Once it goes on it is
// taken back, and what it brings late counts once.
TEST_F(Ranks, ARankThatIsStuckIsGivenUpAndItsPartGivenToAnother) {
  expect_done(grid(db_));
  const std::string shared = path("shared.db");
  Running running(mpirun(3, {"--enable-recovery", "-x", "MNM_SILENCE=1"}, grid(shared)));
  const pid_t victim = scoring_rank(running, 1);
  ASSERT_GT(victim, 0) << running.err();
  kill(victim, SIGSTOP);
  const auto reported = [&] { return running.out().find("best:") != std::string::npos; };
  while (!reported() && !running.ended()) std::this_thread::sleep_for(Milliseconds(5));
  EXPECT_TRUE(reported()) << running.err();
  EXPECT_NE(running.err().find("rank 1 was not heard of"), std::string::npos) << running.err();
  kill(victim, SIGCONT);
  running.wait();
  expect_same(records(shared), records(db_));
}

TEST_F(Ranks, ARankThatStaysStuckEndsWithTheFirst) {
  expect_done(grid(db_));
  const std::string shared = path("shared.db");
  Running running(mpirun(2, {"-x", "MNM_SILENCE=1"}, grid(shared)));
  const pid_t victim = scoring_rank(running, 1);
  ASSERT_GT(victim, 0) << running.err();
  kill(victim, SIGSTOP);
  const Result result = running.wait();
  EXPECT_NE(result.err.find("rank 1 was not heard of"), std::string::npos) << result.err;
  EXPECT_NE(result.out.find("best:"), std::string::npos) << result.err;
  wait_for_end(victim);  // the launcher lets nobody stay behind
  expect_same(records(shared), records(db_));
}

// It stays one of the ranks, and what it was at is given to another; the first one goes on handing
// out and keeping.
TEST_F(Ranks, ARankWhoseDeviceIsLostCostsOnlyItsPart) {
  expect_done(grid(db_));
  for (const std::string rank : {"0", "1"}) {
    const LosingProgram program(40, rank);
    const std::string shared = path("shared" + rank + ".db");
    const Result result = Running(mpirun_of(3, {}, program.argv(grid(shared)))).wait();
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_NE(result.err.find("rank " + rank + ": scoring lost cpu"), std::string::npos)
        << result.err;
    EXPECT_NE(result.out.find("best:"), std::string::npos);
    expect_same(records(shared), records(db_));
  }
}

TEST_F(Ranks, WhereEveryRankLosesItsDeviceResumingGoesOn) {
  expect_done(grid(db_));
  const LosingProgram program(400, "0,1");
  const std::string shared = path("shared.db");
  const Result result = Running(mpirun_of(2, {}, program.argv(grid(shared)))).wait();
  EXPECT_EQ(result.status, 1) << result.err;
  EXPECT_NE(result.err.find("no rank is left to score; rank 0: scoring lost cpu"),
            std::string::npos)
      << result.err;
  EXPECT_NE(result.err.find("--resume 1' goes on"), std::string::npos) << result.err;
  EXPECT_LT(records_of_search(shared), 256);
  expect_done({"search", "--db", shared, "--resume", "1", "--threads", "1"});
  expect_same(records(shared), records(db_));
}

TEST_F(Ranks, WhereTheLauncherEndsAllResumingRedoesOnlyWhatWasLost) {
  expect_done(grid(db_));
  const std::string shared = path("shared.db");
  Running running(mpirun(2, {}, grid(shared)));
  const pid_t victim = scoring_rank(running, 1), keeper = scoring_rank(running, 0);
  ASSERT_GT(victim, 0) << running.err();
  ASSERT_GT(keeper, 0) << running.err();
  std::int64_t kept = 0;
  while (kept == 0 && !running.ended()) kept = records_of_search(shared);
  kill(victim, SIGKILL);
  EXPECT_NE(running.wait().status, 0);
  // The launcher does not wait for the first rank, which ends in its own time; until then the run
  // is its own, and resuming is refused.
  wait_for_end(keeper);
  kept = records_of_search(shared);
  EXPECT_GT(kept, 0) << "a part that is done is kept before the batch is";
  if (kept == 256) GTEST_SKIP() << "this machine was done before the rank was killed";
  const Result resumed = expect_done({"search", "--db", shared, "--resume", "1", "--threads", "1"});
  EXPECT_NE(resumed.err.find(std::to_string(kept) + " known already"), std::string::npos)
      << resumed.err;
  expect_same(records(shared), records(db_));
}

class RanksOfImages : public ImageWorkshop {
 protected:
  RanksOfImages() : ImageWorkshop(40, 24) {}
};

// The second rank reads the vectors of the database that the first one keeps. With --encoder
// submodel each rank encodes the database for its own submodels.
TEST_F(RanksOfImages, TwoProcessesFindTheSameImagesAsOne) {
  for (const std::string encoder : {"full", "submodel"}) {
    const auto eval = [&](const std::string& db) {
      return std::vector<std::string>{"eval",      vit_,       "--data", others_,   "--database",
                                      images_,     "--metric", "knn",    "--depth", "5",
                                      "--encoder", encoder,    "--db",   path(db),  "--json",
                                      "--threads", "1"};
    };
    const Json alone = expect_done(eval(encoder + "-alone.db")).json();
    const Result shared = Running(mpirun(2, {}, eval(encoder + "-shared.db"))).wait();
    ASSERT_EQ(shared.status, 0) << shared.err;
    const Json together = shared.json();
    ASSERT_EQ(alone.size(), 3u);
    ASSERT_EQ(together.size(), alone.size());
    for (std::size_t i = 0; i < alone.size(); ++i) {
      EXPECT_EQ(together[i]["widths"], alone[i]["widths"]);
      for (const char* metric : {"knn", "map", "precision", "recall"}) {
        EXPECT_EQ(together[i][metric].get<double>(), alone[i][metric].get<double>())
            << metric << " of " << alone[i]["widths"] << ", encoder " << encoder;
      }
    }
  }
}

}  // namespace
}  // namespace mnm::test
