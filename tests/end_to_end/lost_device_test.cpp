// A device that is lost ends the command with one sentence and leaves a sound store.
#include "tests/end_to_end/losing_program.h"
#include "tests/end_to_end/workshop.h"

namespace mnm::test {
namespace {

using Json = nlohmann::json;

class LostDevice : public Workshop {
 protected:
  LostDevice() { tokens("search.bin", 1, 32 * 32 + 1); }

  std::vector<std::string> evolution(const std::string& db) const {
    return search({"--strategy", "evolution", "--population", "16", "--max-evaluations", "160",
                   "--seed", "3", "--device", "cpu"},
                  db);
  }

  static Result run_losing(std::int64_t products, const std::vector<std::string>& arguments) {
    const LosingProgram program(products);
    return Running(program.argv(arguments)).wait();
  }

  static std::string last_line(const std::string& text) {
    const std::string lines = text.substr(0, text.find_last_not_of('\n') + 1);
    return lines.substr(lines.rfind('\n') + 1);
  }

  static Json runs(const std::string& db) {
    return expect_done({"runs", "--db", db, "--json"}).json()["runs"];
  }

  static std::vector<std::string> records(const std::string& db) {
    std::vector<std::string> all;
    for (const Json& r : expect_done({"pareto", "--db", db, "--all", "--json"}).json()) {
      all.push_back(r["part"].get<std::string>() + " " + r["widths"].get<std::string>() + " " +
                    r["loss"].dump() + " " + r["loss_se"].dump());
    }
    std::sort(all.begin(), all.end());
    return all;
  }

  const std::string lost_ =
      "mixnmatch: scoring lost cpu, which answers every call with 'CUDA error: unspecified launch "
      "failure' from now on; a new process may find it sound";
};

// Lost again and again, each time a while later: in the first batch, in others, while confirming.
TEST_F(LostDevice, SearchKeepsWhatWasScoredAndGoesOn) {
  const std::string whole = path("whole.db");
  expect_done(evolution(whole));
  const std::string sentence = lost_ +
                               "; all that was scored is kept, and 'mixnmatch search --db " + db_ +
                               " --resume 1 --device cpu' goes on";
  std::vector<std::string> command = evolution(db_);
  std::int64_t kept = 0;
  int losses = 0;
  for (std::int64_t products = 10;; products += 200) {
    ASSERT_LT(losses, 50);
    const Result result = run_losing(products, command);
    if (result.status == 0) break;
    ++losses;
    EXPECT_EQ(result.status, 1);
    EXPECT_EQ(result.out, "");
    EXPECT_EQ(last_line(result.err), sentence) << result.err;
    const Json all = runs(db_);
    ASSERT_EQ(all.size(), 1u) << "a confirmation that failed is none";
    EXPECT_EQ(all[0]["status"], all[0]["records"] == 160 ? "done" : "stopped");
    EXPECT_GE(all[0]["records"], kept);
    kept = all[0]["records"];
    command = {"search", "--db", db_, "--resume", "1", "--device", "cpu", "--threads", "1"};
  }
  EXPECT_GE(losses, 3);
  EXPECT_EQ(records(db_), records(whole));
}

TEST_F(LostDevice, NoRunOfTheSessionIsLeftRunning) {
  const Result result =
      run_losing(10, search({"--strategy", "evolution,random", "--max-evaluations", "160"}, db_));
  EXPECT_EQ(result.status, 1) << result.err;
  const Json all = runs(db_);
  ASSERT_EQ(all.size(), 2u) << result.err;
  for (const Json& run : all) EXPECT_EQ(run["status"], "stopped");
}

TEST_F(LostDevice, OtherCommandsSaySo) {
  const std::vector<std::string> on_data = {"--data", search_, "--context", "32", "--threads", "1"};
  for (std::vector<std::string> command : {std::vector<std::string>{"eval", model_, "--db", db_},
                                           {"bench", model_, "--set", "grid"}}) {
    command.insert(command.end(), on_data.begin(), on_data.end());
    for (const std::int64_t products : {0, 30}) {
      const Result result = run_losing(products, command);
      EXPECT_EQ(result.status, 1) << command.front();
      EXPECT_EQ(result.out, "") << command.front();
      const std::string said = last_line(result.err);
      EXPECT_NE(said.find(" lost cpu, which answers every call with 'CUDA error: unspecified "
                          "launch failure' from now on"),
                std::string::npos)
          << result.err;
    }
  }
  EXPECT_FALSE(std::filesystem::exists(db_)) << "of one plan that failed nothing is kept";
}

TEST_F(LostDevice, TrainingGoesOnFromItsState) {
  const std::vector<std::string> command = {"train",
                                            model_ + "/config.json",
                                            "--tokens",
                                            search_,
                                            "--out",
                                            path("run"),
                                            "--steps",
                                            "4",
                                            "--checkpoint-every",
                                            "1",
                                            "--batch",
                                            "1",
                                            "--context",
                                            "16",
                                            "--threads",
                                            "1"};
  const std::string goes_on = "; the same command goes on from " + path("run/state.safetensors");
  std::string said;
  for (std::int64_t products = 0; said.find(goes_on) == std::string::npos; products += 30) {
    ASSERT_LT(products, 300) << said;
    const Result result = run_losing(products, command);
    ASSERT_EQ(result.status, 1) << result.err;
    said = last_line(result.err);
    EXPECT_NE(said.find("mixnmatch: training lost cpu, which"), std::string::npos) << result.err;
  }
  expect_done(command);
}

}  // namespace
}  // namespace mnm::test
