/* A state that many threads look at and one of them ends, for threads.pxd and whoever cimports it. */
#ifndef RAFTX_CELL_H
#define RAFTX_CELL_H
#include <stdint.h>
/* What was written before a publish is seen by whoever peeks at what it published. */
static inline int raftx_claim(int32_t *p) { return __atomic_exchange_n(p, 1, __ATOMIC_SEQ_CST) == 0; }
static inline void raftx_publish(int32_t *p, int32_t v) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }
static inline int32_t raftx_peek(int32_t *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
#endif
