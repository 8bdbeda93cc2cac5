#include "dataset/npy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

namespace mnm {
namespace {

TEST(Npy, HasAnAlignedHeadAndTheValuesBits) {
  for (const std::size_t count : {0u, 1u, 3u, 1000u, 65536u}) {
    std::vector<float> values(count);
    for (std::size_t i = 0; i < count; ++i) values[i] = 0.1f * static_cast<float>(i);
    if (count > 1) values[1] = std::nanf("");
    const std::string file = npy_f32(values);
    ASSERT_EQ(file.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
    const std::size_t head =
        static_cast<unsigned char>(file[8]) + 256u * static_cast<unsigned char>(file[9]);
    EXPECT_EQ((10 + head) % 64, 0u);
    EXPECT_EQ(file[10 + head - 1], '\n');
    EXPECT_EQ(file.substr(10, head).find("{'descr': '<f4', 'fortran_order': False, 'shape': (" +
                                         std::to_string(count) + ",), }"),
              0u);
    ASSERT_EQ(file.size(), 10 + head + 4 * count);
    if (count == 0) continue;
    EXPECT_EQ(std::memcmp(file.data() + 10 + head, values.data(), 4 * count), 0);
  }
}

}  // namespace
}  // namespace mnm
