// Coroutines of Boost.Asio. The header of Boost 1.74 uses std::exchange without including it.
#pragma once

// clang-format off
#include <utility>
#include <boost/asio/awaitable.hpp>
// clang-format on
