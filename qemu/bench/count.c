// SPDX-License-Identifier: GPL-2.0
/*
 * A QEMU plugin: how often each block of the guest's code is executed between two marks.
 *
 *	-plugin count.so,mark=ADDRESS,out=FILE[,callee=FIRST-LAST]
 *
 * QEMU translates the guest's code in blocks: straight runs of instructions that end with a jump. Each time a block is
 * translated one addition to a counter is made part of it, so the counts are of all that is executed, interrupt
 * handlers and sections without interrupts too, and the guest's instruction clock does not see any of it.
 *
 * ADDRESS is that of a kernel function which nothing else calls: its first call begins the measurement, its second
 * ends it. FILE then has a line "ADDRESS INSTRUCTIONS TIMES" for each block of the kernel that was executed, and a
 * line "0 INSTRUCTIONS 0" for all of user space. For one CPU.
 *
 * With callee= (the addresses of one function) FILE has a line "from ADDRESS INSTRUCTIONS TIMES" for each block, too, that
 * the function was entered from: whose instructions they were. What the function calls itself is not among them.
 *
 * Debian has no package with qemu-plugin.h, so what is used of it is declared here, as QEMU's documentation of plugins
 * has it; version 2 of the interface is that of QEMU 9.0, and later ones take it.
 */

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_scoreboard;
struct counter {
	struct qemu_plugin_scoreboard *score;
	size_t offset;
};
typedef uint64_t plugin_id;

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*cb)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, void (*cb)(unsigned int, void *), int flags,
					  void *data);
void qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(struct qemu_plugin_tb *tb, int op, struct counter entry,
						       uint64_t amount);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_scoreboard *qemu_plugin_scoreboard_new(size_t size);
void *qemu_plugin_scoreboard_find(struct qemu_plugin_scoreboard *score, unsigned int cpu);

EXPORT int qemu_plugin_version = 2;

/* A block is known by where it starts and how long it is: the same code may be translated again, and cut otherwise. */
struct block {
	uint64_t address;
	uint64_t length;
	uint64_t times;	/* when the measurement began */
	/* Of the function that callers are wanted of: what was executed of it after this block had entered it. */
	uint64_t callee_instructions;
	uint64_t callee_times;
};

#define BLOCKS (1u << 20)	/* a power of two */
#define USER 0			/* the place of all blocks of user space */
#define ADD_U64 0

static struct block blocks[BLOCKS];
static uint32_t used = 1;
static struct qemu_plugin_scoreboard *score;
static uint64_t mark;
static const char *out;
static int calls;
static uint64_t callee_first, callee_last;
static struct block *previous, *caller;

static uint32_t place_of(uint64_t address, uint64_t length)
{
	uint64_t hash = (address * 31 + length) * UINT64_C(0x9e3779b97f4a7c15);
	uint32_t i = hash >> 44 & (BLOCKS - 1);

	while (i == USER || (blocks[i].length && (blocks[i].address != address || blocks[i].length != length)))
		i = (i + 1) & (BLOCKS - 1);
	if (!blocks[i].length) {
		if (++used > BLOCKS / 2) {
			fprintf(stderr, "count.so: more blocks of code than there are places\n");
			exit(1);
		}
		blocks[i].address = address;
		blocks[i].length = length;
	}
	return i;
}

static void marked(unsigned int cpu, void *data)
{
	const uint64_t *now = qemu_plugin_scoreboard_find(score, cpu);
	FILE *file;

	(void)data;
	if (++calls == 1) {
		for (uint32_t i = 0; i < BLOCKS; i++)
			blocks[i].times = now[i];
		return;
	}
	if (calls > 2)
		return;
	file = fopen(out, "w");
	if (!file) {
		perror(out);
		exit(1);
	}
	/* User space counts instructions, the others how often they were entered. */
	fprintf(file, "0 %" PRIu64 " 0\n", now[USER] - blocks[USER].times);
	for (uint32_t i = 1; i < BLOCKS; i++) {
		uint64_t times = now[i] - blocks[i].times;

		if (times)
			fprintf(file, "%" PRIx64 " %" PRIu64 " %" PRIu64 "\n", blocks[i].address,
				times * blocks[i].length, times);
		if (blocks[i].callee_instructions)
			fprintf(file, "from %" PRIx64 " %" PRIu64 " %" PRIu64 "\n", blocks[i].address,
				blocks[i].callee_instructions, blocks[i].callee_times);
	}
	fclose(file);
}

/* Each block, when callers are wanted. */
static void executed(unsigned int cpu, void *data)
{
	struct block *block = data;

	(void)cpu;
	if (calls == 1 && block->address >= callee_first && block->address <= callee_last) {
		if (block->address == callee_first && previous) {
			caller = previous;
			caller->callee_times++;
		}
		if (caller)
			caller->callee_instructions += block->length;
	} else {
		previous = block;
	}
}

static void translated(plugin_id id, struct qemu_plugin_tb *tb)
{
	uint64_t address = qemu_plugin_tb_vaddr(tb), length = qemu_plugin_tb_n_insns(tb);
	struct counter counter = { score, 0 };

	(void)id;
	if (address == mark)
		qemu_plugin_register_vcpu_tb_exec_cb(tb, marked, 0, NULL);
	/* The kernel has the upper half of the addresses. */
	if (address >> 63) {
		uint32_t place = place_of(address, length);

		counter.offset = place * sizeof(uint64_t);
		length = 1;
		if (callee_first)
			qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, 0, &blocks[place]);
	}
	qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(tb, ADD_U64, counter, length);
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
	(void)info;
	for (int i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "mark=", 5))
			mark = strtoull(argv[i] + 5, NULL, 16);
		else if (!strncmp(argv[i], "out=", 4))
			out = argv[i] + 4;
		else if (!strncmp(argv[i], "callee=", 7)) {
			char *end;

			callee_first = strtoull(argv[i] + 7, &end, 16);
			callee_last = *end == '-' ? strtoull(end + 1, NULL, 16) : callee_first;
		}
	}
	if (!mark || !out) {
		fprintf(stderr, "count.so: mark= and out= are needed\n");
		return 1;
	}
	score = qemu_plugin_scoreboard_new(BLOCKS * sizeof(uint64_t));
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
