# SPDX-License-Identifier: GPL-2.0
# Kbuild rules for what is generated from headers: the probes of RDMA functions,
# the raw bindings (bindgen over bindings/<engine>_helper.h), and the comparison
# of what bindgen (libclang) took the layout of C types to be with what the
# kernel's compiler makes of it. All of it, and every C file, is compiled with
# one and the same list of flags, c_flags.

srpt_parameters := $(src)/bindings/parameters $(src)/bindings/parameters.$(SRPT_ENGINE)
srpt_layouts := $(src)/bindings/layout.list $(wildcard $(src)/bindings/layout.$(SRPT_ENGINE).list)
srpt_probes := $(src)/bindings/probes
srpt_helper := $(abspath $(src))/bindings/$(SRPT_ENGINE)_helper.h

# --- probes_generated.h ----------------------------------------------------

quiet_cmd_srpt_probe = PROBE   $@
      cmd_srpt_probe = sh $(src)/scripts/probe-headers $(srpt_probes) $(abspath $(src))/bindings/rdma_helper.h \
	$@ "$(srpt_rdma_name)" -- $(CC) $(filter-out $(CC_FLAGS_LTO), $(c_flags))

$(obj)/src/probes_generated.h: $(srpt_probes) $(src)/scripts/probe-headers FORCE
	$(call if_changed_dep,srpt_probe)

# First of all: what it says about headers is easier to read than what rustc says.
$(obj)/src/bindings_generated.rs: | $(obj)/src/probes_generated.h
$(obj)/src/shims.o: $(obj)/src/probes_generated.h

# --- bindings_generated.rs -------------------------------------------------

ifdef CONFIG_CC_IS_CLANG
srpt_bindgen_flags = $(filter-out $(CC_FLAGS_LTO), $(c_flags))
else
# libclang knows few of GCC's options for code generation, and none of them
# matters to declarations: only those that change what a type looks like stay.
# The layout check below notices if one was forgotten.
srpt_bindgen_target_x86 := x86_64-linux-gnu
srpt_bindgen_target_arm64 := aarch64-linux-gnu
srpt_bindgen_target_loongarch := loongarch64-linux-gnusf
srpt_bindgen_target_powerpc := powerpc64le-linux-gnu
srpt_bindgen_target_riscv := riscv64-linux-gnu
srpt_bindgen_target_s390 := s390x-linux-gnu
srpt_bindgen_keep := -m32 -m64 -mabi=% -fms% -fshort-wchar -funsigned-char -fsigned-char -fshort-enums
# What GCC calls the ABI of arm64, and is the only one that libclang has there.
srpt_bindgen_drop_arm64 := -mabi=lp64
srpt_bindgen_flags = $(filter-out -f% -m% -O% -g% -W% --param%, $(c_flags)) \
	$(filter-out $(srpt_bindgen_drop_$(SRCARCH)),$(filter -Wp% $(srpt_bindgen_keep), $(c_flags))) -w \
	$(addprefix --target=,$(srpt_bindgen_target_$(SRCARCH)))
endif

quiet_cmd_srpt_bindgen = BINDGEN $@
      cmd_srpt_bindgen = \
	$(BINDGEN) $< $(shell sed '/^\#/d' $(srpt_parameters)) --rust-target 1.85 \
		--use-core --with-derive-default --ctypes-prefix ::kernel::ffi --no-layout-tests \
		--no-debug '.*' --enable-function-attribute-detection \
		-o $@.raw -- $(srpt_bindgen_flags) -fno-builtin -D__BINDGEN__ -DMODULE && \
	awk -f $(src)/scripts/anonymous.awk $(src)/bindings/unions pass=1 $@.raw pass=2 $@.raw > $@ && rm $@.raw

$(obj)/src/bindings_generated.rs: $(srpt_helper) $(srpt_parameters) $(src)/scripts/anonymous.awk \
		$(src)/bindings/unions FORCE
	$(call if_changed_dep,srpt_bindgen)

# --- layout_generated.rs ---------------------------------------------------
# bindings -> C that prints sizes and offsets -> assembler (the kernel's
# compiler works the numbers out) -> Rust that compares them with its own.

quiet_cmd_srpt_layout_c = GEN     $@
      cmd_srpt_layout_c = awk -f $(src)/scripts/layout-c.awk -v helper=$(srpt_helper) \
	$(srpt_layouts) $(obj)/src/bindings_generated.rs > $@

$(obj)/src/layout_generated.c: $(obj)/src/bindings_generated.rs $(srpt_layouts) \
		$(src)/scripts/layout-c.awk FORCE
	$(call if_changed,srpt_layout_c)

quiet_cmd_srpt_layout_rs = GEN     $@
      cmd_srpt_layout_rs = awk -f $(src)/scripts/layout-rs.awk $< > $@

$(obj)/src/layout_generated.rs: $(obj)/src/layout_generated.s $(src)/scripts/layout-rs.awk FORCE
	$(call if_changed,srpt_layout_rs)

targets += $(addprefix src/,probes_generated.h bindings_generated.rs layout_generated.c layout_generated.s layout_generated.rs)
