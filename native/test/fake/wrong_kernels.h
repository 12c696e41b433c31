// The kernels' table with one that gives a wrong value, which checks must find.
#pragma once

#include <string>

#include "cuda/kernels.h"

namespace lockstep::test {

// `name`: of the table; "": none is wrong. Of those listed in wrong_kernels.cpp; the program ends with any other.
const cuda::Kernels& kernels_but(const std::string& name);

}  // namespace lockstep::test
