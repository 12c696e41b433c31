// Marks functions that run on the device and on the host.
#pragma once

#ifdef __CUDACC__
#define LOCKSTEP_ANYWHERE __host__ __device__
#else
#define LOCKSTEP_ANYWHERE
#endif
