module tenantry.dev/bench/prepared

go 1.27
