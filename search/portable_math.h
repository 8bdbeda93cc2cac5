// Replacements of libm's functions, whose last digits differ between machines. These use plain
// arithmetic, so a seed gives the same trace everywhere. Relative errors are below 1e-13 unless
// stated.
#pragma once

namespace mnm {

double portable_exp(double x);   // 0 below -708, so never subnormal; x up to 708
double portable_log(double x);   // x positive, finite and normal
double portable_log2(double x);  // the same

// E[max(0, t - Y)] for Y ~ N(mean, deviation^2): by how much Y is expected to lie below t. With a
// deviation of 0 this is max(0, t - mean). Relative error below 1e-9.
double expected_shortfall(double threshold, double mean, double deviation);

}  // namespace mnm
