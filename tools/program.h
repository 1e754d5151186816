/*
 * The part of a program that is the same for fmpatch and for the programs that extend it.
 */
#ifndef TOOLS_PROGRAM_H
#define TOOLS_PROGRAM_H

#include <stdbool.h>

/* Runs the verb that argv names, from command_table; returns the exit status.  `extended`: a word
 * that is no verb is the program fmpatch-WORD. */
int program_main(int argc, char **argv, bool extended);

#endif
