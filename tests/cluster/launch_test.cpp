#include "cluster/launch.h"

#include <gtest/gtest.h>

#include <map>

namespace mnm {
namespace {

using Environment = std::map<std::string, std::string>;

std::optional<Launch> launch(const Environment& environment) {
  return launch_of([&](const char* name) {
    const auto found = environment.find(name);
    return found == environment.end() ? std::string() : found->second;
  });
}

TEST(Launch, IsWhatTheLaunchersSay) {
  struct Case {
    Environment environment;
    Launch expected;
  };
  const Case cases[] = {
      {{{"OMPI_COMM_WORLD_RANK", "3"},
        {"OMPI_COMM_WORLD_SIZE", "8"},
        {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
        {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
        {"SLURM_PROCID", "0"},
        {"SLURM_STEP_NUM_TASKS", "2"}},
       {3, 8, 1, 2}},
      {{{"SLURM_PROCID", "5"}, {"SLURM_STEP_NUM_TASKS", "16"}, {"SLURM_LOCALID", "1"}},
       {5, 16, 1, 1}},
      {{{"PMI_RANK", "0"}, {"PMI_SIZE", "2"}}, {0, 2, 0, 1}}};
  for (const Case& c : cases) {
    const std::optional<Launch> found = launch(c.environment);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->rank, c.expected.rank);
    EXPECT_EQ(found->size, c.expected.size);
    EXPECT_EQ(found->local_rank, c.expected.local_rank);
    EXPECT_EQ(found->local_size, c.expected.local_size);
  }
}

TEST(Launch, IsNoneWhereOneProcessWasStarted) {
  const Environment alone[] = {{},
                               {{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "1"}},
                               // A batch script of a job of eight tasks is one process.
                               {{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}},
                               {{"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "1"}},
                               {{"PMI_RANK", "x"}, {"PMI_SIZE", "2"}},
                               {{"PMI_RANK", "2"}, {"PMI_SIZE", "2"}},
                               {{"PMI_RANK", "-1"}, {"PMI_SIZE", "2"}}};
  for (const Environment& environment : alone) EXPECT_FALSE(launch(environment));
}

}  // namespace
}  // namespace mnm
