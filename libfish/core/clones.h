/*
 * FISH_CLONES before a function compiles it for newer processors too; the loader picks the best
 * one. For plain loops that the compiler vectorises.
 */
#ifndef FISH_CLONES_H
#define FISH_CLONES_H

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 &&           \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#    define FISH_CLONES                                                                            \
        __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#    define FISH_CLONES
#endif

#endif
